"""Servers in a process of their own, as they are started on the command line."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

ROOT = Path(__file__).resolve().parents[2]


def command(*arguments: str) -> list[str]:
    """A verb of the room with its arguments."""
    return [sys.executable, "-m", "llm_server", *arguments]


@contextmanager
def process(environment: dict[str, str]) -> Iterator[tuple["subprocess.Popen[str]", str]]:
    """A serving process once it is healthy, and its base URL."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    env = {**os.environ, **environment, "LLM_PORT": str(port), "LLM_THREADS": "1"}
    with subprocess.Popen(command("serve"), cwd=ROOT, env=env, stderr=subprocess.PIPE, text=True) as server:
        try:
            for _ in range(600):
                try:
                    if httpx.get(f"http://127.0.0.1:{port}/health").status_code == 200:
                        break
                except httpx.TransportError:
                    assert server.poll() is None, server.stderr and server.stderr.read()
                time.sleep(0.05)
            yield server, f"http://127.0.0.1:{port}"
        finally:
            server.kill()
