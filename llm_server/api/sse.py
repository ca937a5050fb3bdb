"""Server-sent events, and what happens when the reader leaves."""

import asyncio
import json
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Mapping
from contextlib import aclosing
from typing import Any, TypeVar

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from llm_server.api.payloads import Payload
from llm_server.errors import LlmServerError

log = logging.getLogger(__name__)
T = TypeVar("T")

DONE = b"data: [DONE]\n\n"
GONE = 499
"""nginx's status for a client that left; nobody reads it but the log."""


def event(payload: Mapping[str, Any], name: str = "") -> bytes:
    """One event."""
    head = f"event: {name}\n".encode() if name else b""
    data = json.dumps(payload, ensure_ascii=False, separators=(",", ":")).encode()
    return head + b"data: " + data + b"\n\n"


async def chained(
    first: Mapping[str, Any], rest: AsyncGenerator[Payload, None]
) -> AsyncGenerator[Payload, None]:
    """`first`, which has been taken out of `rest` already, and `rest`, which is closed in any case."""
    async with aclosing(rest):
        yield dict(first)
        async for payload in rest:
            yield payload


class SseResponse(Response):
    """Sends payloads as they come, then [DONE]. A reader that leaves cancels the source at once, also while
    it waits.

    `named` events carry their type as the event's name, and no [DONE] follows: /v1/responses has it so.
    An error after the first payload goes out as an event, because the status has been sent already.
    """

    media_type = "text/event-stream"

    def __init__(self, payloads: AsyncIterator[Mapping[str, Any]], *, named: bool = False) -> None:
        super().__init__(headers={"cache-control": "no-cache", "x-accel-buffering": "no"})
        self._payloads = payloads
        self._named = named
        del self.headers["content-length"]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        sending = asyncio.ensure_future(self._send(send))
        leaving = asyncio.ensure_future(_left(receive))
        try:
            await asyncio.wait((sending, leaving), return_when=asyncio.FIRST_COMPLETED)
            if sending.done():
                await sending
        finally:
            for task in (sending, leaving):
                task.cancel()
            await asyncio.gather(sending, leaving, return_exceptions=True)

    async def _send(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        try:
            async for payload in self._payloads:
                name = payload["type"] if self._named else ""
                await send({"type": "http.response.body", "body": event(payload, name), "more_body": True})
        except LlmServerError as error:
            await send({"type": "http.response.body", "body": event(error.body()), "more_body": True})
        except Exception:
            log.exception("stream failed")
            body = LlmServerError("The server failed on this request. Its log has the details.").body()
            await send({"type": "http.response.body", "body": event(body), "more_body": True})
        finally:
            await _close(self._payloads)
        await send({"type": "http.response.body", "body": b"" if self._named else DONE, "more_body": False})


async def _close(payloads: AsyncIterator[Any]) -> None:
    closing = getattr(payloads, "aclose", None)
    if closing is not None:
        await closing()


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def unless_gone(request: Request, answer: Awaitable[T]) -> T | Response:
    """The answer, or an empty response when the client leaves first; then the answer's work is cancelled."""
    working = asyncio.ensure_future(answer)
    leaving = asyncio.ensure_future(_left(request.receive))
    try:
        await asyncio.wait((working, leaving), return_when=asyncio.FIRST_COMPLETED)
        return await working if working.done() else Response(status_code=GONE)
    finally:
        for task in (working, leaving):
            task.cancel()
        await asyncio.gather(working, leaving, return_exceptions=True)
