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
        self._listeners: dict[asyncio.Queue[dict[str, Any]], asyncio.AbstractEventLoop] = {}

    def tell(self, kind: str, version: Version) -> None:
        """Record an event and hand it out."""
        event = {
            "id": next(self._count),
            "event": kind,
            "adapter": version.name,
            "version": version.id,
            "state": str(version.state),
            "error": version.error,
            "at": time.time(),
        }
        self.counts[kind] += 1
        self._history.append(event)
        for listener, loop in list(self._listeners.items()):
            if not loop.is_closed():
                loop.call_soon_threadsafe(_offer, listener, event)

    async def listen(self, after: int = 0) -> AsyncIterator[dict[str, Any]]:
        """Events with a number above `after`, those of the past first."""
        listener: asyncio.Queue[dict[str, Any]] = asyncio.Queue(KEPT)
        self._listeners[listener] = asyncio.get_running_loop()
        last = after
        try:
            for event in list(self._history):
                if event["id"] > last:
                    last = event["id"]
                    yield event
            while True:
                event = await listener.get()
                if event["id"] > last:
                    last = event["id"]
                    yield event
        finally:
            del self._listeners[listener]


def _offer(listener: asyncio.Queue[dict[str, Any]], event: dict[str, Any]) -> None:
    """A listener that does not read loses the oldest."""
    if listener.full():
        listener.get_nowait()
    listener.put_nowait(event)
