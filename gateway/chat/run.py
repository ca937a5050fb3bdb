"""One answer in the making: events for the reader, and the record for the database."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any, TypeVar

from gateway.conversations.service import INTERRUPTED, Outcome, Turn
from gateway.errors import ShuttingDown, failure
from graphs.events import Answered, AnyEvent, Sources, Token
from graphs.tracing import UNTRACED, RunTrace

T = TypeVar("T")
_log = logging.getLogger(__name__)


class Interrupted(ShuttingDown):
    """The gateway stopped in the middle of the answer."""

    code = "interrupted"


GRACE_SECONDS = 2.0
"""How long an answer that is over waits for its agent to unwind."""
_leaving: set[asyncio.Task[None]] = set()
"""Strong references: the event loop keeps weak ones only."""


async def until(source: AsyncGenerator[T, None], stopping: asyncio.Event) -> AsyncGenerator[T, None]:
    """What comes from the source until it ends. Raises Interrupted as soon as the event is set.

    A source that does not hear at once that it is over is left to end by itself: the record of a stopped
    answer does not wait for it.
    """
    stop = asyncio.create_task(stopping.wait())
    step: asyncio.Future[T | None] | None = None
    try:
        while True:
            step = asyncio.ensure_future(anext(source, None))
            await asyncio.wait({step, stop}, return_when=asyncio.FIRST_COMPLETED)
            if not step.done():
                raise Interrupted(INTERRUPTED["message"])
            item = step.result()
            if item is None:
                return
            yield item
    finally:
        stop.cancel()
        task = asyncio.create_task(_close(source, step))
        _leaving.add(task)
        task.add_done_callback(_leaving.discard)
        await asyncio.wait({task}, timeout=GRACE_SECONDS)


async def _close(source: AsyncGenerator[T, None], step: asyncio.Future[T | None] | None) -> None:
    if step is not None and not step.done():
        step.cancel()
        await asyncio.wait({step})
    try:
        await source.aclose()
    except Exception:
        _log.warning("an agent did not end in order", exc_info=True)


@dataclass(frozen=True, slots=True)
class Sent:
    """An event as the wire has it."""

    name: str
    data: dict[str, Any]


@dataclass
class ChatRun:
    """Reading `events` is what drives the run; to stop reading is to cancel it."""

    turn: Turn
    agent: str
    source: AsyncGenerator[AnyEvent, None]
    finish: Callable[[Outcome], Awaitable[None]]
    """Stores the record; raises where that has to wait."""
    stopping: asyncio.Event
    """Set when the gateway cannot wait any longer for this answer."""
    trace: RunTrace = UNTRACED
    _said: list[str] = field(default_factory=list)
    _steps: list[dict[str, Any]] = field(default_factory=list)
    _sources: list[dict[str, Any]] = field(default_factory=list)
    _ended: bool = False
    _stored: bool = False
    """The whole answer was stored."""

    async def events(self) -> AsyncGenerator[Sent, None]:
        """start, the run's own events, then done or error. The record is written whatever happens."""
        turn = self.turn
        try:
            yield Sent(
                "start",
                {
                    "conversation_id": turn.conversation_id,
                    "question_id": turn.question_id,
                    "message_id": turn.answer_id,
                    "trace_id": turn.trace_id,
                    "agent": self.agent,
                },
            )
            async with aclosing(until(self.source, self.stopping)) as events:
                async for event in events:
                    yield await self._sent(event)
        except (GeneratorExit, asyncio.CancelledError):
            await self._stopped()
            raise
        except Exception as error:
            if self._stored:
                # What its steps leave behind goes at the next start.
                _log.warning("an agent did not end in order", exc_info=True)
            else:
                yield await self._failed(error)

    async def _sent(self, event: AnyEvent) -> Sent:
        data = event.data()
        if isinstance(event, Token):
            self._said.append(event.text)
        elif isinstance(event, Sources):
            self._sources = data["items"]
        elif isinstance(event, Answered):
            self._ended = True
            await self.finish(self._outcome("complete", event.answer, data["usage"], data["timings"]))
            self._stored = True
            return Sent("done", {"message_id": self.turn.answer_id, **data})
        else:
            self._steps.append({"event": event.name, "data": data})
        return Sent(event.name, data)

    async def _stopped(self) -> None:
        """The reader went away."""
        if not self._ended:
            self._ended = True
            await self._record(self._outcome("cancelled", "".join(self._said)))

    async def _failed(self, error: Exception) -> Sent:
        self._ended = True
        told = failure(error)
        _log.warning("answer failed", extra={"trace_id": self.turn.trace_id, "code": told["code"]})
        state = "interrupted" if isinstance(error, Interrupted) else "failed"
        await self._record(self._outcome(state, "".join(self._said), error=told))
        return Sent("error", told)

    async def _record(self, outcome: Outcome) -> None:
        """The reader is told how an answer ended even where that cannot be stored now."""
        try:
            await self.finish(outcome)
        except Exception:
            _log.warning("an answer is not stored yet", extra={"trace_id": self.turn.trace_id}, exc_info=True)

    def _outcome(
        self,
        state: str,
        content: str,
        usage: dict[str, Any] | None = None,
        timings: dict[str, Any] | None = None,
        error: dict[str, Any] | None = None,
    ) -> Outcome:
        made_by = self.trace.generation_id
        return Outcome(state, content, self._steps, self._sources, usage, timings, error, made_by)
