"""An HTTP proxy in front of a server, which loses what a test wants it to lose."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Literal

import httpx

Fate = Literal["pass", "drop", "cut"]
"""drop: the request never arrives; cut: it does, but nobody hears the answer."""


@contextmanager
def proxy(target: str, fate: Callable[[str, str], Fate]) -> Iterator[str]:
    """The address of a proxy for `target`; `fate` is asked for every method and path."""
    client = httpx.Client(base_url=target, trust_env=False, timeout=60)

    class Handler(BaseHTTPRequestHandler):
        def handle_any(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
            chosen = fate(self.command, self.path)
            if chosen != "drop":
                headers = {k: v for k, v in self.headers.items() if k.lower() not in ("host", "connection")}
                answer = client.request(self.command, self.path, content=body, headers=headers)
                if chosen == "pass":
                    self.send_response(answer.status_code)
                    self.send_header("Content-Type", answer.headers.get("content-type", "text/plain"))
                    self.send_header("Content-Length", str(len(answer.content)))
                    self.end_headers()
                    self.wfile.write(answer.content)
            self.close_connection = True

        do_GET = do_POST = do_PATCH = do_DELETE = handle_any

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.1,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
        client.close()
