"""A real Label Studio, started once for all tests that need one."""

from __future__ import annotations

import json
import os
import secrets
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from annotation.label_studio import LabelStudio
from annotation.server import INSTALLED, SET_UP, OwnServer


@dataclass(frozen=True)
class Studio:
    """A running server."""

    own: OwnServer

    @property
    def url(self) -> str:
        return self.own.url

    @property
    def token(self) -> str:
        return self.own.token

    def sdk(self, code: str, *arguments: str) -> Any:
        """Runs code with Label Studio's own SDK, `ls` being its client; gives the JSON that it prints."""
        begin = "import json, sys\nfrom label_studio_sdk import LabelStudio\n"
        begin += f"ls = LabelStudio(base_url={self.url!r}, api_key={self.token!r})\n"
        command = [str(INSTALLED / "bin" / "python"), "-c", begin + code, *arguments]
        env = {**os.environ, "NO_PROXY": "127.0.0.1"}
        done = subprocess.run(command, capture_output=True, text=True, env=env, timeout=300)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    if not INSTALLED.exists():
        pytest.skip(f"Label Studio is not installed. {SET_UP}")
    folder = tmp_path_factory.mktemp("label-studio")
    own = OwnServer(folder / "data", free_port(), secrets.token_hex(20), secrets.token_hex(8))
    own.folder.mkdir()
    log = folder / "log"
    with log.open("wb") as sink:
        process = subprocess.Popen(
            own.command(), env=own.environment(), cwd=folder, stdout=sink, stderr=subprocess.STDOUT
        )
    with process:
        try:
            own.wait(process, log)
            yield Studio(own)
        finally:
            process.terminate()
            process.wait(timeout=60)


@pytest.fixture
def studio(server: Studio) -> Iterator[LabelStudio]:
    made = LabelStudio(server.url, server.token)
    yield made
    made.close()


@pytest.fixture
def title(request: pytest.FixtureRequest) -> str:
    """A project of the test's own."""
    return str(request.node.name)[-40:] + secrets.token_hex(3)
