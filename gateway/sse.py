"""Server-sent events that stop the work when the reader goes away (WHATWG HTML, section 9.2)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from typing import Any

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

HEARTBEAT_SECONDS = 15.0
"""A comment this often keeps proxies from closing a quiet stream."""


def event(name: str | None, data: Any, number: int | None = None) -> bytes:
    """One event. OpenAI streams have no names; a reader that comes back says the last number it saw."""
    body = data if isinstance(data, str) else json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    head = f"id: {number}\n" if number is not None else ""
    return f"{head}{f'event: {name}' + chr(10) if name else ''}data: {body}\n\n".encode()


class EventStream(Response):
    """Streams a generator's chunks. When the client disconnects the generator is closed at once, between two
    chunks or in the middle of waiting for one."""

    media_type = "text/event-stream"

    def __init__(self, chunks: AsyncGenerator[bytes, None], headers: dict[str, str] | None = None) -> None:
        self.status_code = 200
        self.background = None
        self._chunks = chunks
        self.init_headers({"Cache-Control": "no-store", "X-Accel-Buffering": "no", **(headers or {})})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        pump = asyncio.create_task(self._pump(send))
        others = {asyncio.create_task(_gone(receive)), asyncio.create_task(_beat(send))}
        try:
            await asyncio.wait({pump, *others}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (pump, *others):
                task.cancel()
            await asyncio.gather(pump, *others, return_exceptions=True)
        if not pump.cancelled() and (error := pump.exception()):
            raise error

    async def _pump(self, send: Send) -> None:
        # The first chunk before anything is awaited: a generator that was never entered cannot clean up.
        first = await anext(self._chunks)
        try:
            await send(
                {"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers}
            )
            await send({"type": "http.response.body", "body": first, "more_body": True})
            async for chunk in self._chunks:
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        except OSError:
            pass  # the reader went away between two chunks
        finally:
            await self._chunks.aclose()


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _beat(send: Send) -> None:
    while True:
        await asyncio.sleep(HEARTBEAT_SECONDS)
        await send({"type": "http.response.body", "body": b": keep-alive\n\n", "more_body": True})
