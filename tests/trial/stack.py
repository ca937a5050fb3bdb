"""The loopyard that a trial talks to: a running one, or one of its own on free ports."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from tests.trial.client import ChainError

START_SECONDS = 300
STOP_SECONDS = 30


@dataclass(frozen=True)
class Stack:
    """A data folder with its `admin-key` and `run/gateway.json`."""

    data: Path
    llm_port: int = 8000

    @property
    def key(self) -> str:
        """The first admin key."""
        return (self.data / "admin-key").read_text(encoding="utf-8").strip()

    @property
    def url(self) -> str:
        """Where the gateway listens."""
        return str(json.loads((self.data / "run" / "gateway.json").read_text(encoding="utf-8"))["url"])

    @property
    def llm_url(self) -> str:
        """Where llm_server listens."""
        return f"http://127.0.0.1:{self.llm_port}/v1"

    @property
    def llm_key(self) -> str:
        """The key between the gateway and llm_server."""
        return (self.data / "secrets" / "llm-api-key").read_text(encoding="utf-8").strip()

    def cli(self, *arguments: str) -> str:
        """Runs `loopyard ARGUMENTS` and gives back what it printed; ChainError where it fails."""
        command = [*loopyard(), *arguments, "--data", str(self.data)]
        run = subprocess.run(command, capture_output=True, text=True, check=False)
        if run.returncode:
            raise ChainError(f"loopyard {' '.join(arguments)}: exit {run.returncode}: {run.stderr[-800:]}")
        return run.stdout


def loopyard() -> list[str]:
    """The command line tool of this environment."""
    return [str(Path(sys.executable).with_name("loopyard"))]


@contextmanager
def own_stack(data: Path, log: Path, settings: Mapping[str, str] | None = None) -> Iterator[Stack]:
    """`loopyard up` on free ports with `data`; it is told to stop at the end, whatever happened.

    `settings` are added to the environment, such as `{"LLM_BACKEND": "echo"}`.
    """
    ports = free_ports(3)
    names = ("--gateway-port", "--llm-port", "--tools-port")
    options = [text for name, port in zip(names, ports, strict=True) for text in (name, str(port))]
    command = [*loopyard(), "up", "--no-demo", "--data", str(data), *options]
    env = {**os.environ, **(settings or {})}
    with (
        log.open("w", encoding="utf-8") as out,
        subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, env=env) as process,
    ):
        try:
            _wait(process, ports[0], log)
            yield Stack(data, ports[1])
        finally:
            _stop(process)


def free_ports(count: int) -> list[int]:
    """Ports of the loopback that were free a moment ago."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [int(server.getsockname()[1]) for server in sockets]
    for server in sockets:
        server.close()
    return ports


def _wait(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    """Until every dependency of the gateway is ready."""
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end:
        if process.poll() is not None:
            raise ChainError(f"loopyard up ended with {process.returncode}: {_tail(log)}")
        try:
            answer = httpx.get(f"http://127.0.0.1:{port}/health/ready", timeout=5, trust_env=False)
            if answer.is_success:
                return
        except httpx.HTTPError:
            pass
        time.sleep(0.5)
    raise ChainError(f"loopyard up was not ready after {START_SECONDS} s: {_tail(log)}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()


def _tail(log: Path) -> str:
    return log.read_text(encoding="utf-8", errors="replace")[-800:]
