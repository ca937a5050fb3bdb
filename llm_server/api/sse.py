"""Server-sent events, and what happens when the reader leaves."""

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Mapping
from typing import Any, TypeVar

from pydantic_core import to_json
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
    return b"%bdata: %b\n\n" % (head, to_json(payload))


class Chained:
    """`first`, which has been taken out of its source already, and `rest`, which is closed in any case."""

    def __init__(
        self, first: Payload, rest: AsyncGenerator[Payload, None], *sources: AsyncGenerator[Payload, None]
    ) -> None:
        """`sources`: what `rest` reads; a generator that nobody has begun to read would not close them."""
        self._first: Payload | None = first
        self._rest, self._sources = rest, sources

    def __aiter__(self) -> "Chained":
        return self

    async def __anext__(self) -> Payload:
        if self._first is None:
            return await anext(self._rest)
        first, self._first = self._first, None
        return first

    async def aclose(self) -> None:
        """The reader is through, or has left."""
        for generator in (self._rest, *self._sources):
            await generator.aclose()


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
        leaving = asyncio.ensure_future(_cancel_when_left(receive, sending))
        try:
            await asyncio.wait((sending,))
            if not sending.cancelled():
                await sending
        finally:
            for task in (sending, leaving):
                task.cancel()
            await asyncio.gather(sending, leaving, return_exceptions=True)
            # Here too: the reader may have left before the first payload was taken.
            await _close(self._payloads)

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
        await _close(self._payloads)
        await send({"type": "http.response.body", "body": b"" if self._named else DONE, "more_body": False})


async def _close(payloads: AsyncIterator[Any]) -> None:
    closing = getattr(payloads, "aclose", None)
    if closing is not None:
        await closing()


async def _cancel_when_left(receive: Receive, work: "asyncio.Future[Any]") -> None:
    """The work ends by the same turn of the loop that reads the disconnect: a slot waits for it."""
    try:
        while (await receive())["type"] != "http.disconnect":
            pass
    finally:
        work.cancel()


async def unless_gone(request: Request, answer: Awaitable[T]) -> T | Response:
    """The answer, or an empty response when the client leaves first; then the answer's work is cancelled."""
    working = asyncio.ensure_future(answer)
    leaving = asyncio.ensure_future(_cancel_when_left(request.receive, working))
    try:
        await asyncio.wait((working,))
        return Response(status_code=GONE) if working.cancelled() else await working
    finally:
        for task in (working, leaving):
            task.cancel()
        await asyncio.gather(working, leaving, return_exceptions=True)
