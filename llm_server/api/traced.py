"""Pure ASGI: notes down what clients and models say to each other, for the trace host of the settings."""

import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from llm_server.tracing.generation import NAMES
from llm_server.tracing.record import CURRENT, Record
from llm_server.tracing.tracer import Tracer

MARKER = "x-loopyard-traced"
"""Public key of the project that the caller itself traces this request to: it is not traced there twice."""
TAIL = 1024
"""Bytes of an answer that is a list of numbers: its model and its tokens stand at the end."""
HEARD = frozenset({"traceparent", "x-request-id", "x-openwebui-chat-id", "x-openwebui-user-id", MARKER})
"""Headers that a record keeps; the key of the caller is none of them."""


class Traced:
    """Outside of everything else; what it does to a request is to keep references to its bytes."""

    def __init__(self, app: ASGIApp, tracer: Tracer) -> None:
        self._app, self._tracer = app, tracer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http" or scope["method"] != "POST" or scope["path"] not in NAMES:
            await self._app(scope, receive, send)
            return
        given = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        record = Record(scope["path"], {name: given[name] for name in HEARD & given.keys()})
        if record.headers.get(MARKER) == self._tracer.public_key:
            await self._app(scope, receive, send)
            return
        await self._noted(record, scope, receive, send)

    async def _noted(self, record: Record, scope: Scope, receive: Receive, send: Send) -> None:
        async def heard() -> Message:
            message = await receive()
            record.asked.add(message.get("body", b""))
            return message

        async def said(message: Message) -> None:
            await send(message)
            _note(record, message)

        token = CURRENT.set(record)
        try:
            await self._app(scope, heard, said)
        except Exception:
            # Whoever is outside of this answers it.
            record.status = record.status or 500
            raise
        finally:
            CURRENT.reset(token)
            record.ended = time.time()
            caller = scope.get("state", {}).get("caller")
            # Who is not let in costs a line of the log, and no place in the traces.
            if caller is not None:
                record.key = caller.name
                self._tracer.offer(record)


def _note(record: Record, message: Message) -> None:
    if message["type"] == "http.response.start":
        headers = dict(message.get("headers", ()))
        record.status = message["status"]
        record.request_id = headers.get(b"x-request-id", b"").decode("latin-1")
        return
    if message["type"] != "http.response.body":
        return
    part = message.get("body", b"")
    if part and message.get("more_body") and not record.computed_here:
        record.first_token = record.first_token or time.time()
    record.answered.add(part[-TAIL:] if record.path == "/v1/embeddings" else part)
    record.whole = not message.get("more_body", False)
