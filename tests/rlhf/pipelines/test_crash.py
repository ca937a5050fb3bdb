"""Killed with -9 at thirty random points, worker or trainer: the same result, and a log without a gap."""

import random
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psutil
import pytest

from rlhf.jobs import ENDED, Jobs, Kind, State
from tests.rlhf.pipelines.conftest import made
from tests.rlhf.pipelines.writing import part_of
from tests.rlhf.working import finished, until, worker

KILLS = 30
STEPS, PARTS = 4, 4


def chain(ledger: Path, number: int) -> dict[str, Any]:
    """Steps in a row; every other one goes on from what it left."""
    steps: dict[str, Any] = {}
    for at in range(STEPS):
        name = f"{number}-{at}"
        steps[f"s{at}"] = {
            "kind": "write_on" if at % 2 else "write",
            "with": {"ledger": str(ledger), "name": name, "parts": PARTS, "seconds": 0.02},
            "from": {"a": f"s{at - 1}"} if at else {},
            "retry": {"times": 20, "seconds": 0},
        }
    return {"name": "chain", "steps": steps}


def expected(number: int) -> str:
    """What the last step has to write, computed here and undisturbed."""
    text = ""
    for at in range(STEPS):
        text = "".join(part_of(f"{number}-{at}", part, text) for part in range(PARTS))
    return text


def lines(ledger: Path) -> list[str]:
    return ledger.read_text().splitlines() if ledger.exists() else []


def grows_or_ends(ledger: Path, by: int, jobs: Jobs, job_id: str) -> None:
    """Wait until so many lines are new, or the job has ended."""
    seen = len(lines(ledger))
    until(lambda: len(lines(ledger)) >= seen + by or jobs.get(job_id).state in ENDED)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_kill_9_at_thirty_points_changes_nothing(tmp_path: Path) -> None:
    draw, place, ledger = random.Random(7), made(tmp_path), tmp_path / "ledger"
    kills, asked = Counter[str](), list[str]()
    with ExitStack() as stack:
        running = stack.enter_context(worker(place))
        jobs = stack.enter_context(Jobs(place.root / "jobs"))
        while kills.total() < KILLS or jobs.get(asked[-1]).state not in ENDED:
            if not asked or jobs.get(asked[-1]).state in ENDED:
                asked.append(jobs.ask(Kind.PIPELINE, chain(ledger, len(asked)), {}))
            if kills.total() == KILLS:
                finished(jobs, asked[-1])
                continue
            grows_or_ends(ledger, draw.randint(1, 7), jobs, asked[-1])
            time.sleep(draw.random() * 0.05)
            if draw.random() < 0.5:
                running.kill()
                running.wait()
                kills["worker"] += 1
                running = stack.enter_context(worker(place))
            elif found := psutil.Process(running.pid).children():
                found[0].kill()
                kills["trainer"] += 1
        assert min(kills.values()) >= 8
        for number, job_id in enumerate(asked):
            job = jobs.get(job_id)
            assert job.state is State.DONE, job.error
            text = Path(job.result[f"s{STEPS - 1}"]["text"]["path"]).read_text()
            assert text == expected(number)
            log = jobs.log(job_id)
            assert [line.seq for line in log] == list(range(1, len(log) + 1))
            assert {line.step for line in log} >= {f"s{at}" for at in range(STEPS)}
    ran = Counter(line.split()[1] for line in lines(ledger) if line.startswith("start"))
    assert len(ran) == STEPS * len(asked)
    # Each kill lets one step run again, and no more than that.
    assert ran.total() - len(ran) <= KILLS
    # What a kind that goes on has written is not written again.
    parts = Counter(line for line in lines(ledger) if line.startswith("part"))
    kept = {part: times for part, times in parts.items() if int(part.split()[1][-1]) % 2}
    assert all(times == 1 for times in kept.values())
    assert not list((place.root / "objects" / "steps").glob(".*.partial"))
