"""Pure ASGI: every answer carries x-request-id and is counted."""

import re
import uuid

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
