"""What happens to adapters, for whoever listens over SSE."""

import asyncio
import itertools
import time
from collections import Counter, deque
from collections.abc import AsyncIterator
from typing import Any

from llm_server.adapters.versions import Version

KEPT = 256
"""Events that a listener can still ask for, and that may wait for a slow one."""


class Events:
    """Told from any thread; each listener has a queue of its own on its loop."""

    def __init__(self) -> None:
        self._count = itertools.count(1)
        self.counts: Counter[str] = Counter()
        """How often each kind has happened."""
        self._history: deque[dict[str, Any]] = deque(maxlen=KEPT)
        self._listeners: dict[asyncio.Queue[dict[str, Any] | None], asyncio.AbstractEventLoop] = {}

    def tell(self, kind: str, version: Version) -> None:
        """Record an event and hand it out."""
        event: dict[str, Any] = {
            "event": kind,
            "adapter": version.name,
            "version": version.id,
            "state": str(version.state),
            "error": version.error,
            "at": time.time(),
        }
        self._record(event)

    def tell_again(self, others: "Events") -> None:
        """What was told elsewhere, before this took over."""
        for event in list(others._history):
            self._record(event)

    def close(self) -> None:
        """Nothing more will happen: listeners hear the end."""
        self._hand_out(None)

    def _record(self, event: dict[str, Any]) -> None:
        event = {**event, "id": next(self._count)}
        self.counts[event["event"]] += 1
        self._history.append(event)
        self._hand_out(event)

    def _hand_out(self, event: dict[str, Any] | None) -> None:
        for listener, loop in list(self._listeners.items()):
            if not loop.is_closed():
                loop.call_soon_threadsafe(_offer, listener, event)

    async def listen(self, after: int = 0) -> AsyncIterator[dict[str, Any]]:
        """Events with a number above `after`, those of the past first; ends with the model."""
        listener: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue(KEPT)
        self._listeners[listener] = asyncio.get_running_loop()
        last = after
        try:
            for event in list(self._history):
                if event["id"] > last:
                    last = event["id"]
                    yield event
            while (told := await listener.get()) is not None:
                if told["id"] > last:
                    last = told["id"]
                    yield told
        finally:
            del self._listeners[listener]


def _offer(listener: asyncio.Queue[dict[str, Any] | None], event: dict[str, Any] | None) -> None:
    """A listener that does not read loses the oldest."""
    if listener.full():
        listener.get_nowait()
    listener.put_nowait(event)
