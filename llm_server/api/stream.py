"""From the engine's thread to the event loop: the events of a request's sequences."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from functools import partial
from types import TracebackType

from llm_server.engine.engine import Engine
from llm_server.engine.sequence import Delta, Event, Sequence
from llm_server.errors import LlmServerError
from llm_server.tracing.record import CURRENT

MakeSequence = Callable[[int, Callable[[Event], None]], Sequence]
"""Index of a choice and its sink to a sequence."""


class _Mail:
    """What the engine's thread has put down for the loop. Sequences know this and not their stream, so that a
    stream that is over is gone, and with it what it holds of a model.
    """

    def __init__(self) -> None:
        self.events: deque[tuple[int, Event]] = deque()
        self._loop = asyncio.get_running_loop()
        self._ready = asyncio.Event()
        self._told = False
        """Whether the loop knows that there are events."""

    def put(self, index: int, event: Event) -> None:
        """Called in the engine's thread."""
        self.events.append((index, event))
        # A closed loop means that the server is gone, and so is the reader.
        if not self._told and not self._loop.is_closed():
            self._told = True
            self._loop.call_soon_threadsafe(self._ready.set)

    async def wait(self) -> None:
        """Until there are events."""
        await self._ready.wait()
        self._ready.clear()
        self._told = False


class Stream:
    """Events of n sequences in order of arrival. Leaving the context cancels what is not through."""

    def __init__(self, engine: Engine, count: int, make: MakeSequence) -> None:
        self._engine, self._mail = engine, _Mail()
        self._open = set(range(count))
        self._record = CURRENT.get()
        self.sequences = [make(i, partial(self._mail.put, i)) for i in range(count)]

    async def __aenter__(self) -> "Stream":
        try:
            self._engine.submit(self.sequences)
        except LlmServerError:
            for sequence in self.sequences:
                sequence.release()
            raise
        if self._record is not None:
            self._record.computed_here = True
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for index in self._open:
            self._engine.cancel(self.sequences[index])

    async def __aiter__(self) -> AsyncIterator[tuple[int, Event]]:
        while self._open:
            await self._mail.wait()
            events = self._mail.events
            while events:
                index, event = events.popleft()
                if self._record is not None:
                    self._record.hear(index, event)
                if isinstance(event, Delta):
                    event = self._joined(index, event)
                else:
                    self._open.discard(index)
                yield index, event

    def _joined(self, index: int, delta: Delta) -> Delta:
        """With what came after it meanwhile: a reader that is slower than the engine gets larger pieces."""
        events = self._mail.events
        while events and events[0][0] == index:
            following = events[0][1]
            if not isinstance(following, Delta):
                break
            delta = Delta(delta.text + following.text, delta.scores + following.scores)
            events.popleft()
        return delta
