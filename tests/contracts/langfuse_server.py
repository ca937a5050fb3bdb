"""A trace store as a process of its own, for clients in this or in another interpreter."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
NAMES = ("LANGFUSE_TEST_HOST", "LANGFUSE_TEST_PUBLIC_KEY", "LANGFUSE_TEST_SECRET_KEY")


@dataclass(frozen=True)
class TraceServer:
    host: str
    public_key: str
    secret_key: str

    @property
    def environment(self) -> dict[str, str]:
        """For a process that tests against this server."""
        return dict(zip(NAMES, (self.host, self.public_key, self.secret_key), strict=True))


@contextmanager
def trace_server(data: Path) -> Iterator[TraceServer]:
    """The server that the environment names, else `python -m gateway traces` on `data`."""
    if all(os.environ.get(name) for name in NAMES):
        yield TraceServer(*(os.environ[name] for name in NAMES))
        return
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    env = {**os.environ, "TRACES_DATA": str(data), "TRACES_PORT": str(port), "PYTHONPATH": str(ROOT)}
    with subprocess.Popen([sys.executable, "-m", "gateway", "traces"], env=env, cwd=data) as process:
        try:
            _wait(f"http://127.0.0.1:{port}/health", process)
            (pair,) = json.loads((data / "langfuse-keys.json").read_text())["keys"]
            yield TraceServer(f"http://127.0.0.1:{port}", pair["public_key"], pair["secret_key"])
        finally:
            process.terminate()


def _wait(url: str, process: subprocess.Popen[bytes]) -> None:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    while True:
        assert process.poll() is None, "the trace store has ended"
        try:
            opener.open(url, timeout=5).close()
            return
        except (urllib.error.URLError, ConnectionError):
            time.sleep(0.1)
