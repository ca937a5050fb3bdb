"""A real server of S3's API on loopback, buckets of one's own, and a line to it that can break."""

from __future__ import annotations

import http.client
import os
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import httpx
import pytest

from rlhf.objects.bucket import open_bucket
from rlhf.objects.depot import SIGN
from rlhf.objects.settings import Settings

PYTHON = Path(__file__).resolve().parents[3] / ".s3-server" / "bin" / "python"
ACCESS, SECRET = "AKIDLOOPYARD", "a-secret-that-nobody-prints"
KINDS = ("datasets", "models", "checkpoints", "artifacts")
SOURCE = "rows"
HOP = ("connection", "transfer-encoding", "content-length", "server", "date")
"""Headers that each answer has of its own."""


@contextmanager
def s3_server(**env: str) -> Iterator[str]:
    """Its endpoint."""
    if not PYTHON.exists():
        pytest.skip("there is no .s3-server; `make setup-test` makes it")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [str(PYTHON), "-W", "ignore", "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(command, env={**os.environ, **env}, **quiet) as process:  # type: ignore[call-overload]
        try:
            while True:
                assert process.poll() is None, "the S3 server did not start"
                try:
                    socket.create_connection(("127.0.0.1", port), timeout=1).close()
                    break
                except OSError:
                    time.sleep(0.05)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.kill()


def fresh(endpoint: str, **changes: Any) -> Settings:
    """Settings with four new buckets, and a fifth, `sources`, that rows may be read from."""
    own = uuid4().hex[:12]
    names = {kind: f"{kind}-{own}" for kind in KINDS}
    for name in (*names.values(), f"{SOURCE}-{own}"):
        assert httpx.put(f"{endpoint}/{name}", trust_env=False).status_code == 200
    given = {"endpoint": endpoint, "access_key": ACCESS, "secret_key": SECRET, "seconds": 3.0, **names}
    return Settings(**{**given, "sources": f"{SOURCE}-{own}/open/", **changes})


def source_of(settings: Settings) -> str:
    """The bucket that rows may be read from."""
    return settings.sources.partition("/")[0]


def environment(settings: Settings) -> dict[str, str]:
    """For a process of its own."""
    names = ("endpoint", *KINDS, "sources", "seconds")
    found = {f"S3_{name.upper()}": str(getattr(settings, name)) for name in names}
    return {**found, "S3_ACCESS_KEY": ACCESS, "S3_SECRET_KEY": SECRET}


def put(settings: Settings, bucket: str, key: str, content: bytes) -> None:
    """As somebody else who may write there."""
    open_bucket(settings, bucket).send(key, content)


def got(settings: Settings, bucket: str, key: str) -> bytes:
    return b"".join(open_bucket(settings, bucket).blocks(key))


def keys(settings: Settings, bucket: str) -> list[str]:
    """What a bucket holds beside its sign."""
    return [entry.key for entry in open_bucket(settings, bucket).entries() if entry.key != SIGN]


@contextmanager
def line(endpoint: str, breaks: Callable[[str, str], bool]) -> Iterator[tuple[str, list[str]]]:
    """An endpoint that passes on what it does not break, and what has come through it so far."""
    host, seen = urlsplit(endpoint).netloc, []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def pass_on(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            seen.append(f"{self.command} {self.path}")
            if breaks(self.command, self.path):
                self.close_connection = True
                self.connection.shutdown(socket.SHUT_RDWR)
                return
            upstream = http.client.HTTPConnection(host)
            upstream.request(self.command, self.path, body, dict(self.headers))
            answer = upstream.getresponse()
            content = answer.read()
            self.send_response(answer.status)
            for name, value in answer.getheaders():
                if name.lower() not in HOP:
                    self.send_header(name, value)
            length = answer.getheader("Content-Length") if self.command == "HEAD" else len(content)
            self.send_header("Content-Length", str(length or 0))
            self.end_headers()
            self.wfile.write(content)
            upstream.close()

        do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = pass_on

        def log_message(self, format: str, *args: Any) -> None:
            """Not on the test's terminal."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", seen
    finally:
        server.shutdown()
        server.server_close()
