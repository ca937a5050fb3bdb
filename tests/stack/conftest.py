"""A whole installation, started by `loopyard up` on free ports with a data folder of its own."""

import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway.lifeline import marked

ROOT = Path(__file__).parents[2]
SERVICES = ("llm_server", "tools", "traces", "gateway", "worker")


def pytest_collection_modifyitems(items: Sequence[pytest.Item]) -> None:
    """One installation for the whole folder, also where tests are spread over processes."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.xdist_group("stack"))
            # Starting five services on a busy machine takes its time.
            item.add_marker(pytest.mark.timeout(300))


@dataclass
class Stack:
    """A running installation.

    Attributes:
        process: `loopyard up`.
    """

    data: Path
    process: subprocess.Popen[bytes]

    @property
    def url(self) -> str:
        return str(self.facts("gateway")["url"])

    @property
    def key(self) -> str:
        return (self.data / "admin-key").read_text().strip()

    @property
    def mark(self) -> str:
        return str(self.facts("up")["mark"])

    def facts(self, name: str) -> dict[str, Any]:
        """DATA/run/<name>.json."""
        found: dict[str, Any] = json.loads((self.data / "run" / f"{name}.json").read_text())
        return found

    def http(self, **headers: str) -> httpx.Client:
        """The gateway with the admin key."""
        headers = {"Authorization": f"Bearer {self.key}", **headers}
        return httpx.Client(base_url=self.url, headers=headers, timeout=60, trust_env=False)

    def loopyard(self, *arguments: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
        """The command line on this installation."""
        return loopyard(*arguments, "--data", str(self.data), cwd=cwd)

    def chat(self, question: str, *arguments: str) -> dict[str, Any]:
        """`loopyard chat --json`."""
        done = self.loopyard("chat", question, "--json", *arguments)
        assert done.returncode == 0, done.stderr
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    def metric(self, name: str) -> float:
        """A metric of llm_server."""
        url, key = (
            f"{self.facts('llm_server')['url']}/metrics",
            (self.data / "secrets" / "llm-api-key").read_text(),
        )
        headers = {"Authorization": f"Bearer {key.strip()}"}
        lines = httpx.get(url, headers=headers, trust_env=False).raise_for_status().text.splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name))

    def pid(self, service: str) -> int:
        return int(self.facts(service)["pid"])

    def kill(self, service: str) -> int:
        """kill -9; gives the process id that it had."""
        pid = self.pid(service)
        os.kill(pid, signal.SIGKILL)
        return pid

    def owns_folder(self) -> bool:
        """Whether what DATA/run says is about this run."""
        try:
            return int(self.facts("up")["pid"]) == self.process.pid
        except (OSError, ValueError):
            return False

    def ready(self, service: str, but_not: int | None = None) -> bool:
        """Whether a service is ready, in another process than the given one."""
        try:
            facts = self.facts(service)
        except (OSError, ValueError):
            return False
        if facts["pid"] == but_not:
            return False
        return service == "worker" or facts["state"] == "ready"


def loopyard(*arguments: str, cwd: Path = ROOT, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run the command line to its end."""
    env = {**os.environ, "COLUMNS": "200", "PYTHONPATH": str(ROOT), **variables}
    command = [sys.executable, "-m", "gateway.cli", *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=env, timeout=110)


def until(condition: Callable[[], bool], process: subprocess.Popen[bytes] | None = None) -> None:
    """Wait for something that has to happen; the test's time limit is the only limit."""
    while not condition():
        assert process is None or process.poll() is None, "loopyard up has ended"
        time.sleep(0.05)


def free_ports() -> list[str]:
    """Options for three ports that nothing listens on."""
    sockets = [socket.socket() for _ in range(3)]
    for probe in sockets:
        probe.bind(("127.0.0.1", 0))
    numbers = [str(probe.getsockname()[1]) for probe in sockets]
    for probe in sockets:
        probe.close()
    return ["--gateway-port", numbers[0], "--llm-port", numbers[1], "--tools-port", numbers[2]]


@contextmanager
def up(data: Path, models: Path, *options: str, **variables: str) -> Iterator[Stack]:
    """`loopyard up` until everything is ready; at the end nothing of it may be left."""
    share_models(data, models)
    log = data.parent / f"{data.name}-up.log"
    command = [sys.executable, "-m", "gateway.cli", "up", "--data", str(data), *free_ports(), *options]
    env = {**os.environ, "PYTHONPATH": str(ROOT), **variables}
    with log.open("ab") as sink, subprocess.Popen(command, stdout=sink, stderr=sink, env=env) as process:
        stack = Stack(data, process)
        try:
            until(lambda: stack.owns_folder() and all(map(stack.ready, SERVICES)), process)
            mark = stack.mark
            yield stack
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait()
    assert marked(mark) == []


def share_models(data: Path, models: Path) -> None:
    """Let a data folder use the models that another one has prepared: making them takes a while."""
    data.mkdir(exist_ok=True)
    if not (data / "models").exists():
        (data / "models").symlink_to(models)


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Prepared models, once for all installations of a test run."""
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory, models: Path) -> Iterator[Stack]:
    """An installation with the starter model, two documents and a database in the project `demo`."""
    folder = tmp_path_factory.mktemp("stack")
    with up(folder / "data", models, "--no-demo") as stack:
        make_documents(folder / "documents")
        make_database(folder / "shop.sqlite")
        done = stack.loopyard("ingest", str(folder / "documents"), "--project", "demo")
        assert done.returncode == 0, done.stdout + done.stderr
        address = "sqlite:///shop.sqlite"
        done = stack.loopyard("databases", "add", "shop", address, "--project", "demo", cwd=folder)
        assert done.returncode == 0, done.stderr
        yield stack


def make_documents(folder: Path) -> None:
    """Small documents with one fact a section."""
    folder.mkdir()
    (folder / "leave.md").write_text(
        "# Leave\n\n## Annual leave\n\nEvery employee has 28 days of annual leave.\n\n"
        "## Sick leave\n\nEmployees accrue 4 hours of sick leave every pay period.\n"
    )
    (folder / "travel.md").write_text(
        "# Travel\n\n## Hotels\n\nA hotel room may cost 140 euros a night.\n\n"
        "## Trains\n\nTrain tickets are booked in second class.\n"
    )


def make_database(path: Path) -> None:
    """A shop with three customers and four orders."""
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(
            "CREATE TABLE Customer(CustomerId INTEGER PRIMARY KEY, Name TEXT, Country TEXT);"
            "CREATE TABLE Orders(OrderId INTEGER PRIMARY KEY,"
            " CustomerId INTEGER REFERENCES Customer(CustomerId), Total REAL);"
            "INSERT INTO Customer VALUES (1, 'Ada', 'France'), (2, 'Bo', 'Norway'), (3, 'Cy', 'France');"
            "INSERT INTO Orders VALUES (1, 1, 10.5), (2, 1, 20.0), (3, 2, 7.25), (4, 3, 3.0);"
        )
