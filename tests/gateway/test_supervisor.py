"""The supervisor with real little services."""

import asyncio
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import psutil
import pytest

from gateway.cli_errors import CommandError
from gateway.keeper import Patience, Service, State
from gateway.lifeline import marked
from gateway.log_files import LogFile, tail
from gateway.probes import HeartbeatProbe, HttpProbe
from gateway.supervisor import Supervisor

TINY = Path(__file__).with_name("tiny_service.py")
QUICK = Patience(delays=(0.05, 0.1), check=0.1, silence=0.6, grace=0.5)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def tiny(name: str, *behaviours: str) -> Service:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, str(TINY), str(port), *behaviours]
    return Service(name, command, dict(os.environ), HttpProbe(f"{url}/health", timeout=0.3), url)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    (tmp_path / "logs").mkdir()
    return tmp_path


@asynccontextmanager
async def running(supervisor: Supervisor) -> AsyncIterator[asyncio.Task[None]]:
    """Run until ready; at the end nothing that carries the mark may be left."""
    task = asyncio.create_task(supervisor.run())
    try:
        ready = asyncio.create_task(supervisor.ready.wait())
        await asyncio.wait([ready, task], return_when=asyncio.FIRST_COMPLETED)
        ready.cancel()
        yield task
    finally:
        supervisor.stop()
        await asyncio.gather(task, return_exceptions=True)
        assert marked(supervisor.mark) == []


async def until(condition: Callable[[], bool]) -> None:
    """Wait for something that has to happen; the test's time limit is the only limit."""
    while not condition():  # noqa: ASYNC110 - the conditions are facts of other processes
        await asyncio.sleep(0.02)


async def test_each_service_starts_when_the_one_before_is_ready(run: Path) -> None:
    seen: list[tuple[str, State]] = []
    services = [tiny("first", "slow"), tiny("second"), tiny("third")]
    supervisor = Supervisor(
        services, run, patience=QUICK, changed=lambda k: seen.append((k.service.name, k.state))
    )
    async with running(supervisor):
        pass
    begun = [event for event in seen if event[1] in (State.STARTING, State.READY)]
    assert begun == [(s.name, state) for s in services for state in (State.STARTING, State.READY)]
    stopped = [name for name, state in seen if state is State.STOPPED]
    assert stopped == ["third", "second", "first"]


async def test_facts_and_logs_are_written_for_others(run: Path) -> None:
    service = tiny("gateway")
    heard: list[tuple[str, str]] = []
    supervisor = Supervisor([service], run, patience=QUICK, listener=lambda n, line: heard.append((n, line)))
    async with running(supervisor):
        facts = json.loads((run / "gateway.json").read_text())
        assert facts["url"] == service.url
        assert facts["state"] == "ready"
        assert psutil.pid_exists(facts["pid"])
        port = service.url.rpartition(":")[2]
        assert f"tiny service on {port}" in (run / "logs" / "gateway.log").read_text()
        assert ("gateway", f"tiny service on {port}") in heard
    assert not (run / "gateway.json").exists()


@pytest.mark.parametrize("behaviour", ["plain", "family"])
async def test_a_killed_service_comes_back_and_its_family_goes(run: Path, behaviour: str) -> None:
    supervisor = Supervisor([tiny("only", behaviour)], run, patience=QUICK)
    async with running(supervisor):
        keeper = supervisor.keepers[0]
        before = marked(f"{supervisor.mark}/only")
        assert len(before) == (3 if behaviour == "family" else 1)
        assert keeper.child
        os.kill(keeper.child.pid, signal.SIGKILL)
        await until(lambda: keeper.restarts == 1 and keeper.state is State.READY)
        assert not {p.pid for p in marked(supervisor.mark)} & {p.pid for p in before}
        assert keeper.last_exit == -signal.SIGKILL


async def test_a_run_folder_that_cannot_be_written_stops_no_service(run: Path) -> None:
    supervisor = Supervisor([tiny("only")], run, patience=QUICK)
    async with running(supervisor):
        shutil.rmtree(run)
        keeper = supervisor.keepers[0]
        assert keeper.child
        os.kill(keeper.child.pid, signal.SIGKILL)
        await until(lambda: keeper.restarts == 1 and keeper.state is State.READY)


def test_a_log_is_rotated_and_its_end_can_be_read(tmp_path: Path) -> None:
    log = LogFile(tmp_path, "only", limit=100)
    for number in range(60):
        log.note(f"line {number}")
    log.close()
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["only.log", "only.log.1", "only.log.2", "only.log.3"]
    assert all(path.stat().st_size <= 100 for path in tmp_path.iterdir())
    assert tail(tmp_path / "only.log", 1) == "--- line 59"
    assert tail(tmp_path / "other.log") == ""


async def test_a_service_that_stops_answering_is_started_again(run: Path) -> None:
    service = tiny("only")
    supervisor = Supervisor([service], run, patience=QUICK)
    seen: list[State] = []
    supervisor.keepers[0].changed = lambda keeper: seen.append(keeper.state)
    async with running(supervisor):
        async with httpx.AsyncClient(trust_env=False) as client:
            await client.get(f"{service.url}/hang")
        await until(lambda: supervisor.keepers[0].restarts == 1 and State.READY in seen[-1:])
    assert State.SILENT in seen
    assert "no answer" in (run / "logs" / "only.log").read_text()


async def test_a_service_that_cannot_start_ends_everything_with_the_reason(run: Path) -> None:
    supervisor = Supervisor([tiny("good"), tiny("bad", "broken"), tiny("never")], run, patience=QUICK)
    async with running(supervisor) as task:
        with pytest.raises(CommandError) as caught:
            await task
    assert "bad ended 3 times" in str(caught.value)
    assert "status 3" in str(caught.value)
    assert "there is no model here" in str(caught.value)
    assert supervisor.keepers[2].state is State.STOPPED
    assert not (run / "logs" / "never.log").read_text()


async def test_a_stubborn_service_is_ended_after_its_grace(run: Path) -> None:
    supervisor = Supervisor([tiny("only", "stubborn", "family")], run, patience=QUICK)
    async with running(supervisor):
        assert len(marked(supervisor.mark)) == 3


async def test_stopping_is_possible_while_a_service_is_starting(run: Path) -> None:
    service = Service(
        "only", [sys.executable, "-c", "import time; time.sleep(60)"], {}, HttpProbe("http://127.0.0.1:9")
    )
    supervisor = Supervisor([service], run, patience=QUICK)
    task = asyncio.create_task(supervisor.run())
    await until(lambda: supervisor.keepers[0].state is State.STARTING)
    supervisor.stop()
    await task
    assert marked(supervisor.mark) == []


async def test_a_service_without_a_port_is_ready_by_its_heartbeat(run: Path) -> None:
    beat = run / "worker.json"
    code = (
        "import json, os, time\n"
        f"open({str(beat)!r}, 'w').write(json.dumps({{'pid': os.getpid(), 'time': time.time()}}))\n"
        "time.sleep(60)"
    )
    service = Service("worker", [sys.executable, "-c", code], dict(os.environ), HeartbeatProbe(beat))
    supervisor = Supervisor([service], run, patience=QUICK)
    async with running(supervisor):
        keeper = supervisor.keepers[0]
        assert keeper.child
        assert json.loads(beat.read_text())["pid"] == keeper.child.pid
        assert keeper.state is State.READY


ALONE = """
import asyncio, sys
from pathlib import Path
from tests.gateway.test_supervisor import QUICK, tiny
from gateway.supervisor import Supervisor

async def main():
    services = [tiny("a"), tiny("b", "family"), tiny("c", "stubborn")]
    supervisor = Supervisor(services, Path(sys.argv[1]), patience=QUICK)
    task = asyncio.create_task(supervisor.run())
    await supervisor.ready.wait()
    print(supervisor.mark, flush=True)
    await task

asyncio.run(main())
"""


@pytest.fixture
def alone(run: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A supervisor in a process of its own, with the mark of its services."""
    with subprocess.Popen(
        [sys.executable, "-c", ALONE, str(run)], stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        assert process.stdout
        yield process, process.stdout.readline().strip()
        process.kill()


def gone(mark: str) -> bool:
    """Whether everything with a mark ends within the five seconds that are promised."""
    deadline = time.monotonic() + 5
    while marked(mark) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not marked(mark)


def test_nothing_is_left_when_the_supervisor_is_killed(alone: tuple[subprocess.Popen[str], str]) -> None:
    process, mark = alone
    assert len(marked(mark)) == 5
    process.kill()
    assert gone(mark)


def lifelines(supervisor: int, mark: str) -> list[psutil.Process]:
    """The lifeline processes of a supervisor that run."""
    children = psutil.Process(supervisor).children()
    return [p for p in children if p.status() != psutil.STATUS_ZOMBIE and mark in p.cmdline()]


def test_nothing_is_left_when_its_lifeline_was_killed_before(
    alone: tuple[subprocess.Popen[str], str],
) -> None:
    process, mark = alone
    (first,) = lifelines(process.pid, mark)
    first.kill()
    while not (second := lifelines(process.pid, mark)) or second == [first]:
        time.sleep(0.05)
    process.kill()
    assert gone(mark)
