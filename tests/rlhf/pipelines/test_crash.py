"""Killed with -9 at thirty random points, worker, trainer or gateway: the same adapter, no gap in the log.

The supervisor keeps the worker and the gateway as in any installation; a client follows the log of the job.
"""

import asyncio
import os
import random
import re
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import psutil
import pytest

from gateway.cli_client import GatewayClient, Item
from gateway.cli_errors import CommandError
from gateway.data_folder import DataFolder, open_data_folder
from gateway.keeper import Patience
from gateway.services import Ports, build_services
from gateway.supervisor import Supervisor
from rlhf.jobs import Jobs, State
from rlhf.logbook import Logbook
from rlhf.registry import CANDIDATE, Registry
from tests.gateway.test_supervisor import free_port
from tests.rlhf.pipelines.counting import PLUGIN, made, repeated, retraining, started
from tests.rlhf.preferring import base, rows, write

KILLS = 30
VICTIMS = ("worker", "trainer", "gateway")
IN_TRAINING = 0.2
"""Share of the kills that wait for a step of the optimiser: the others hit what loads or is small."""
QUICK = Patience(delays=(0.05,), check=0.1)
SETTINGS = {"RLHF_STEPS": PLUGIN, "RLHF_NVIDIA_SMI": "no-nvidia-smi", "RLHF_STOP_SECONDS": "0"}
STEP = re.compile(r"step (\d+)/(\d+)")
RESUMED = re.compile(r"goes on from step (\d+)")


@asynccontextmanager
async def installed(data: DataFolder) -> AsyncIterator[Supervisor]:
    """The gateway and the worker of an installation; what a job needs of the others is nothing."""
    ports = Ports(*(free_port() for _ in range(4)))
    services = build_services(data, ports, {**os.environ, **SETTINGS})
    ours = [service for service in services if service.name in VICTIMS]
    supervisor = Supervisor(ours, data.run, patience=QUICK)
    task = asyncio.create_task(supervisor.run())
    ready = asyncio.create_task(supervisor.ready.wait())
    try:
        await asyncio.wait([ready, task], return_when=asyncio.FIRST_COMPLETED)
        assert ready.done(), task.result()
        yield supervisor
    finally:
        ready.cancel()
        supervisor.stop()
        await asyncio.gather(task, return_exceptions=True)


def ask(data: Path, spec: dict[str, Any]) -> str:
    """A job, asked for over HTTP as soon as the gateway answers."""
    while True:
        with suppress(CommandError), GatewayClient.of(data) as client:
            body = {"kind": "pipeline", "spec": spec, "parameters": {}}
            return str(client.request("POST", "/api/v1/jobs", json=body).json()["id"])


def followed(data: Path, job_id: str) -> list[Item]:
    """The log as a client puts it together, which comes back with the number of the last line it has."""
    lines: list[Item] = []
    while True:
        with suppress(CommandError), GatewayClient.of(data) as client:
            for name, event in client.events(f"/api/v1/jobs/{job_id}/events", len(lines)):
                if name == "line":
                    lines.append(event)
                elif name == "end":
                    return lines


class Killer:
    """Kills by a seeded draw. `struck`: how often which victim was hit."""

    def __init__(self, data: DataFolder, supervisor: Supervisor, seed: int) -> None:
        self.data, self.draw = data, random.Random(seed)
        self.keepers = {keeper.service.name: keeper for keeper in supervisor.keepers}
        self.left = [name for name in VICTIMS for _ in range(KILLS // len(VICTIMS))]
        self.draw.shuffle(self.left)
        self.struck: Counter[str] = Counter()
        self.book = Logbook(data.path / "jobs")

    async def strike(self, job_id: str, over: asyncio.Task[Any]) -> None:
        """Wait for the next point and kill there, unless the job ends before."""
        victim = self.left[-1]
        steps = self._steps(job_id)
        wanted = self.draw.randint(1, 2) if victim != "gateway" and self.draw.random() < IN_TRAINING else 0
        delay = self.draw.random() * (0.1 if wanted else 2.0)
        while self._pid(victim) is None or self._steps(job_id) < steps + wanted:
            if over.done():
                return
            await asyncio.sleep(0.02)
        await asyncio.sleep(delay)
        if (pid := self._pid(victim)) is None:
            return
        with suppress(ProcessLookupError):
            os.kill(pid, 9)
            self.struck[victim] += 1
            self.left.pop()

    def _pid(self, victim: str) -> int | None:
        """The process that is hit now; None where there is none at the moment."""
        if victim != "trainer":
            child = self.keepers[victim].child
            return child.pid if child else None
        worker, starts = self._pid("worker"), started(self.data.path)
        if worker is None or not starts or starts[-1][0] != "train":
            return None
        with suppress(psutil.Error):
            return next((child.pid for child in psutil.Process(worker).children()), None)
        return None

    def _steps(self, job_id: str) -> int:
        """Lines that tell of a step of the optimiser."""
        return sum(bool(STEP.match(line.text)) for line in self.book.read(job_id))


@pytest.mark.slow
@pytest.mark.timeout(1800)
async def test_kill_9_at_thirty_points_changes_nothing(tmp_path: Path) -> None:
    data = open_data_folder(tmp_path / "data")
    tiny = base(tmp_path / "tiny")
    write(tmp_path / "rows.jsonl", rows(32))
    logs: dict[str, list[Item]] = {}
    async with installed(data) as supervisor:
        killer = Killer(data, supervisor, seed=7)
        while killer.left or len(logs) < 2:
            # The first job is left alone; the others do the same work afresh.
            spec = retraining(tmp_path / "rows.jsonl", tiny, f"run-{len(logs)}", fresh=bool(logs))
            job_id = await asyncio.to_thread(ask, data.path, spec)
            following = asyncio.create_task(asyncio.to_thread(followed, data.path, job_id))
            while logs and killer.left and not following.done():
                await killer.strike(job_id, following)
            logs[job_id] = await following
    assert killer.struck == dict.fromkeys(VICTIMS, KILLS // len(VICTIMS))
    deaths = killer.struck["worker"] + killer.struck["trainer"]
    # A kill lets at most one step run again, that of a gateway none.
    assert repeated(data.path) <= deaths
    assert sum(computed_again(lines) for lines in logs.values()) <= deaths
    with Jobs(data.path / "jobs") as jobs:
        undisturbed, *others = [jobs.get(job_id) for job_id in logs]
        for number, job in enumerate([undisturbed, *others]):
            assert job.state is State.DONE, job.error
            assert made(job.result) == made(undisturbed.result)
            version = Registry(data.path).find(f"run-{number}", CANDIDATE)
            assert version.digest == undisturbed.result["train"]["adapter"]["digest"]
            lines = logs[job.id]
            assert [line["seq"] for line in lines] == list(range(1, len(lines) + 1))
            assert lines == [asdict(line) for line in jobs.log(job.id)]
            assert steps_told(lines)
    assert not list((data.path / "objects" / "steps").glob(".*.partial"))


def computed_again(lines: list[Item]) -> int:
    """Steps of the optimiser that a log tells of more than once."""
    told = Counter(found[1] for line in lines if (found := STEP.match(line["text"])))
    return told.total() - len(told)


def steps_told(lines: list[Item]) -> bool:
    """Whether each step of the optimiser was told: when it was done, or by what a resumed run goes on from.

    What a trainer has just said is lost with a worker that is killed before it has written it down.
    """
    done = [found for line in lines if (found := STEP.match(line["text"]))]
    resumed = [int(found[1]) for line in lines if (found := RESUMED.match(line["text"]))]
    untold = set(range(1, int(done[-1][2]) + 1)) - {int(found[1]) for found in done}
    return max(untold, default=0) <= max(resumed, default=0)
