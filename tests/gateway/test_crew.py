"""Helpers come when a queue is deep and go when nothing waits, never in the middle of a step."""

from __future__ import annotations

import asyncio
import errno
import io
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
from rich.console import Console

from gateway.cli_errors import CommandError
from gateway.cli_status import print_status
from gateway.cli_up import _crewing
from gateway.crew import Crew, Plan, plan_of
from gateway.data_folder import open_data_folder
from gateway.keeper import Keeper, Patience, Service
from gateway.log_files import LogFile
from gateway.probes import HeartbeatProbe
from gateway.services import Ports, build_helper, build_services
from rlhf.jobs import Jobs, Kind, State
from tests.gateway.conftest import fresh_database
from tests.gateway.service import until
from tests.rlhf.pipelines.conftest import made
from tests.rlhf.pipelines.test_fleet import diamond, starts
from tests.rlhf.working import Place, finished, worker

pytestmark = pytest.mark.timeout(300)
QUICK = Patience(delays=(0.1,), first_tries=2, start=60, check=0.2, grace=5)
SHORT: dict[str, Any] = {"deep": 1, "patience": 0.3, "idle": 0.7, "look": 0.2}


@pytest.fixture(scope="module")
def place(postgres: str, tmp_path_factory: pytest.TempPathFactory) -> Place:
    url = fresh_database(postgres).replace("postgresql+psycopg://", "postgresql://")
    return made(tmp_path_factory.mktemp("crew"), RLHF_JOBS_URL=url, RLHF_CPU_JOBS="1")


@pytest.fixture(scope="module")
def jobs(place: Place) -> Iterator[Jobs]:
    """The record, with the first worker on it."""
    with worker(place), Jobs(place.root / "jobs", place.more["RLHF_JOBS_URL"]) as found:
        yield found


@asynccontextmanager
async def crew_of(place: Place, plan: Plan, command: list[str] | None = None) -> AsyncIterator[Crew]:
    run = place.root / "run"
    (run / "logs").mkdir(parents=True, exist_ok=True)
    first = Service(
        "worker", command or [sys.executable, "-m", "rlhf", "worker"], place.env, HeartbeatProbe(run / "x")
    )

    def make(number: int) -> tuple[Keeper, Path]:
        service, heartbeat = build_helper(first, run, number)
        heartbeat.parent.mkdir(parents=True, exist_ok=True)
        log = LogFile(run / "logs", service.name)
        return Keeper(service, run, f"crew-{run.parent.name}", QUICK, log, lambda _: None), heartbeat

    crew = Crew(plan, place.more["RLHF_JOBS_URL"], make, run)
    task = asyncio.create_task(crew.keep())
    try:
        yield crew
    finally:
        task.cancel()
        await crew.stop()
        with suppress(asyncio.CancelledError):
            await task


async def test_helpers_come_work_and_go(place: Place, jobs: Jobs) -> None:
    ledger = place.root / "ledger"
    async with crew_of(place, Plan(1, 3, **SHORT)) as crew:
        asked = [
            await asyncio.to_thread(jobs.ask, Kind.PIPELINE, diamond(ledger, number, 0.4), {})
            for number in range(8)
        ]

        async def grown() -> bool:
            ready = [one for one in crew.helpers.values() if one.keeper.first_ready.is_set()]
            assert len(crew.helpers) <= 2
            return len(ready) == 2

        await until(grown, 60)
        pids = [one.keeper.child.pid for one in crew.helpers.values() if one.keeper.child]
        shown = Console(width=120, record=True, file=io.StringIO())
        facts: dict[str, Any] = {"pid": 1, "up_seconds": 1, "data": "", "services": [], "chats": None}
        print_status({**facts, "crew": crew.facts()}, shown)
        assert "worker-2" in shown.export_text(clear=False)
        assert "workers 1 to 3" in shown.export_text()
        done = [await asyncio.to_thread(finished, jobs, job_id) for job_id in asked]
        assert {job.state for job in done} == {State.DONE}

        async def gone() -> bool:
            return not crew.helpers

        await until(gone, 60)
        assert not [pid for pid in pids if psutil.pid_exists(pid)]
        # Nothing was begun twice: nobody was ended in the middle of a step.
        assert set(starts(ledger).values()) == {1}
        assert len(starts(ledger)) == 4 * 8


async def test_what_cannot_start_is_not_tried_again_at_once(place: Place, jobs: Jobs) -> None:
    broken = [sys.executable, "-c", "raise SystemExit(3)"]
    async with crew_of(place, Plan(2, 3, **SHORT, hold=60), broken) as crew:

        async def held() -> bool:
            return crew.facts()["held_seconds"] > 50 and not crew.helpers

        await until(held, 60)
        await asyncio.sleep(1)
        assert not crew.helpers
    log = (place.root / "run" / "logs" / "worker-2.log").read_text()
    assert log.count("raise SystemExit(3)") == QUICK.first_tries


def test_a_full_disk_starts_nobody_and_ends_nothing(tmp_path: Path) -> None:
    def make(number: int) -> tuple[Keeper, Path]:
        raise OSError(errno.ENOSPC, "No space left on device", f"worker-{number}.log")

    crew = Crew(Plan(2, 3, **SHORT, hold=60), "", make, tmp_path)
    crew._adjust(set(), 1.0)
    assert not crew.helpers
    assert crew.facts()["held_seconds"] > 50


def test_what_makes_no_sense_is_said(tmp_path: Path) -> None:
    assert (plan_of("1:4").least, plan_of("1:4").most) == (1, 4)
    for text in ("4", "0:2", "3:2", "a:b", "1:999"):
        with pytest.raises(CommandError, match="is no MIN:MAX"):
            plan_of(text)
    data = open_data_folder(tmp_path)
    services = build_services(data, Ports(), {})
    with pytest.raises(CommandError, match="needs a record of jobs that several workers can share"):
        _crewing("1:4", services[-1], data.run)
