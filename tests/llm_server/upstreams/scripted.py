"""A server that does as it is told: refuses, answers, breaks off."""

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import uvicorn
from starlette.types import Receive, Scope, Send


@dataclass
class Scripted:
    """What it answers with, and what it was asked."""

    url: str = ""
    status: int = 200
    breaks: bool = False
    """End the connection in the middle of a stream."""
    endless: bool = False
    """Stream until the client leaves."""
    asked: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    """Of what it was asked."""
    looks: list[str] = field(default_factory=list)
    """Paths of GET: who looked whether it is there."""
    says: list[dict[str, Any]] = field(default_factory=list)
    """Chunks that it streams, then [DONE]."""
    left: int = 0
    """Clients that left before the end."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http":
            return
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        if scope["method"] == "GET":
            self.looks.append(scope["path"])
            await send({"type": "http.response.start", "status": self.status, "headers": []})
            await send({"type": "http.response.body", "body": b"{}"})
            return
        self.asked.append(json.loads(body))
        self.paths.append(scope["path"])
        self.headers.append({k.decode(): v.decode() for k, v in scope["headers"]})
        streamed = self.breaks or self.endless or bool(self.says)
        kind = b"text/event-stream" if streamed else b"application/json"
        headers = [(b"content-type", kind), (b"retry-after", b"7"), (b"set-cookie", b"a=b")]
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        if streamed:
            await self._stream(receive, send)
            return
        answer = b'{"object": "scripted"}' if self.status == 200 else b"<html>not today</html>"
        await send({"type": "http.response.body", "body": answer})

    async def _stream(self, receive: Receive, send: Send) -> None:
        if self.says:
            lines = [f"data: {json.dumps(chunk)}\n\n" for chunk in self.says]
            text = "".join([*lines, "data: [DONE]\n\n"])
            await send({"type": "http.response.body", "body": text.encode()})
            return
        await send({"type": "http.response.body", "body": b'data: {"n": 1}\n\n', "more_body": True})
        if self.breaks:
            # A body that ends without its last chunk.
            raise ConnectionResetError
        assert (await receive())["type"] == "http.disconnect"
        self.left += 1


@contextmanager
def scripted(**how: Any) -> Iterator[Scripted]:
    """It listens on loopback."""
    app = Scripted(**how)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        app.url = f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
        server = uvicorn.Server(uvicorn.Config(app, log_config=None, ws="none", timeout_graceful_shutdown=1))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        while not server.started:
            time.sleep(0.01)
        try:
            yield app
        finally:
            server.should_exit = True
            thread.join()


def nobody() -> str:
    """An address where nobody listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}/v1"
