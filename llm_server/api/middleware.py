"""Pure ASGI: every answer carries x-request-id and is counted; a body has a limit; models are held."""

import re
import uuid
from collections.abc import Callable

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from llm_server.metrics import Metrics

_SANE = re.compile(rb"[\w.:-]{1,128}")


class RequestId:
    """Takes the client's x-request-id, or makes one, and counts the request by route and status."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = dict(scope["headers"]).get(b"x-request-id", b"")
        identity = given if _SANE.fullmatch(given) else f"req_{uuid.uuid4().hex}".encode()

        async def tagged(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), (b"x-request-id", identity)]
                route = getattr(scope.get("route"), "path", "other")
                self._metrics.http.labels(route, str(message["status"])).inc()
            await send(message)

        await self._app(scope, receive, tagged)


class BodyLimit:
    """Counts the bytes of a body while they are read: 413 when they are too many, or announced to be."""

    def __init__(self, app: ASGIApp, megabytes: int, uploads: dict[str, int] | None = None) -> None:
        """`uploads`: megabytes of the paths that take files."""
        self._app = app
        self._megabytes = megabytes
        self._uploads = uploads or {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path = scope["path"]
        megabytes = self._uploads.get(path, self._megabytes)
        name = "LLM_UPLOAD_MB" if path in self._uploads else "LLM_MAX_BODY_MB"
        limit = megabytes << 20
        announced = dict(scope["headers"]).get(b"content-length", b"")
        seen = int(announced) if announced.isdigit() else 0
        read = 0

        async def counted() -> Message:
            nonlocal seen, read
            if seen <= limit:
                message = await receive()
                read += len(message.get("body", b""))
                seen = max(seen, read)
            if seen > limit:
                # The only kind of error that FastAPI lets through while it reads a body.
                raise HTTPException(413, f"The body is larger than {megabytes} MB ({name}).")
            return message

        await self._app(scope, counted, send)


class Held:
    """Lets go of the models of a request when it is answered, its stream included."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        held: list[Callable[[], None]] = []
        scope["held"] = held
        try:
            await self._app(scope, receive, send)
        finally:
            for end in held:
                end()
