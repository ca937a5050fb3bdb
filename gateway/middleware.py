"""What surrounds every request: its id, its log line and metrics, security headers, a limit on its body."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import time

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.errors import TooLarge, response
from gateway.ids import new_id
from gateway.metrics import Metrics

ID = re.compile(r"^[A-Za-z0-9._-]{1,64}$")
BODY_BYTES = 2 << 20
"""Largest body of anything but an upload."""
TRACE_BYTES = 64 << 20
"""Largest body for the trace store: what OpenTelemetry's exporters may send at once."""
MULTIPART_BYTES = 64 << 10
"""What a multipart form adds to a file."""
LINGER_SECONDS = 3.0
"""How long a client that was refused may take to stop sending."""
SECURITY = {
    "Content-Security-Policy": (
        "default-src 'self'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
        "connect-src 'self'; object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}

_log = logging.getLogger(__name__)


class RequestFrame:
    """Gives each request an id, measures it, and adds the headers of every answer."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = Headers(scope=scope).get("x-request-id", "")
        request_id = given if ID.match(given) else new_id()
        scope.setdefault("state", {})["request_id"] = request_id
        started, status = time.perf_counter(), 500

        async def framed(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers["X-Request-ID"] = request_id
                for name, value in SECURITY.items():
                    headers.setdefault(name, value)
            await send(message)

        try:
            await self._app(scope, receive, framed)
        finally:
            self._told(scope, status, time.perf_counter() - started, request_id)

    def _told(self, scope: Scope, status: int, seconds: float, request_id: str) -> None:
        route = _template(scope)
        self._metrics.request(scope["method"], route, status, seconds)
        facts = {"method": scope["method"], "route": route, "status": status, "request_id": request_id}
        _log.info("request", extra={**facts, "ms": round(seconds * 1000, 1)})


def _template(scope: Scope) -> str:
    """The path with the names of its parameters, so that metrics do not grow with every id."""
    if scope.get("route") is None:
        return "other"
    path: str = scope["path"]
    for name, value in scope.get("path_params", {}).items():
        path = path.replace(f"/{value}", f"/{{{name}}}", 1)
    return path


class BodyLimit:
    """Refuses bodies over their limit: by Content-Length before a byte is read, by counting where there is
    none."""

    def __init__(self, app: ASGIApp, upload_bytes: int) -> None:
        self._app = app
        self._upload_bytes = upload_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        multipart = headers.get("content-type", "").startswith("multipart/form-data")
        small = TRACE_BYTES if scope["path"].startswith("/api/public/") else BODY_BYTES
        limit = self._upload_bytes + MULTIPART_BYTES if multipart else small
        error = TooLarge(f"The request is larger than {max(limit >> 20, 1)} MB.")
        declared = headers.get("content-length", "")
        if declared.isdigit() and int(declared) > limit:
            await response(error, {"Connection": "close"})(scope, receive, send)
            return
        read = 0

        async def counted() -> Message:
            nonlocal read
            message = await receive()
            read += len(message.get("body", b""))
            if read > limit:
                raise error
            return message

        async def closing(message: Message) -> None:
            if read <= limit:
                await send(message)
            elif message["type"] == "http.response.start":
                MutableHeaders(scope=message)["Connection"] = "close"
                await send(message)
            else:
                await send({**message, "more_body": True})
                await _discard(receive)
                await send({"type": "http.response.body", "body": b""})

        await self._app(scope, counted, closing)


async def _discard(receive: Receive) -> None:
    """Throws the rest of a body away for a while: a connection that is closed over unread bytes is reset, and
    a client that still sends would never see its answer."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(LINGER_SECONDS):
            while (await receive()).get("more_body"):
                pass
