"""The worker as a process: jobs, resumption after kill -9, one worker a folder."""

import json
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from rlhf.errors import JobNotFound
from rlhf.jobs import Jobs, State
from tests.rlhf.working import Place, finished, until, worker


@pytest.fixture
def place(tmp_path: Path) -> Place:
    (tmp_path / "models").mkdir()
    return Place(tmp_path)


@pytest.fixture
def jobs(place: Place) -> Iterator[Callable[[], Jobs]]:
    """Opens the record, which exists as soon as a worker was ready once."""
    opened: list[Jobs] = []

    def open_() -> Jobs:
        opened.append(Jobs(place.root / "jobs"))
        return opened[-1]

    yield open_
    for one in opened:
        one.__exit__(None, None, None)


def test_a_check_records_every_file_and_compares_it_from_then_on(
    place: Place, jobs: Callable[[], Jobs]
) -> None:
    place.add({"hub/model.gguf": "weights", "embedder.gguf": "more", "notes.txt": "no model"})
    with worker(place):
        record = jobs()
        for known in (False, True):
            job = finished(record, place.ask(record))
            assert job.state is State.DONE
            assert [(e["name"], e["bytes"], e["known"]) for e in job.result] == [
                ("embedder.gguf", 4, known),
                ("hub/model.gguf", 7, known),
            ]


def test_damage_and_absence_are_told_with_the_remedy(place: Place) -> None:
    with worker(place):
        assert "holds no models: `python -m llm_server prepare`" in place.run("check").stdout
        place.add({"a.gguf": "weights", "b.gguf": "more"})
        assert place.run("check").returncode == 0
        (place.models / "a.gguf").write_text("damaged")
        done = place.run("check")
        assert done.returncode == 1
        assert "changed since they were made: a.gguf; delete them" in done.stdout
        # Made again with the same content, it is good again.
        place.add({"a.gguf": "weights"})
        assert place.run("check").returncode == 0
        assert [line.split()[4] for line in place.run("jobs").stdout.splitlines()] == [
            "done",
            "failed",
            "done",
            "failed",
        ]


def test_a_killed_worker_runs_only_what_is_missing(place: Place, jobs: Callable[[], Jobs]) -> None:
    place.add({"a.gguf": "first", "b.gguf": "", "c.gguf": "third"})
    # Hashing this takes long enough to be killed in the middle; it takes no space.
    with (place.models / "b.gguf").open("wb") as big:
        big.truncate(2**40)
    with worker(place) as first:
        record = jobs()
        job_id = place.ask(record)
        until(lambda: len(record.steps(job_id)) == 2)
        assert record.get(job_id).state is State.RUNNING
        until(lambda: job_id in json.loads(place.heartbeat.read_text())["jobs"]["running"])
        first.kill()
        first.wait()
    place.add({"a.gguf": "changed after it was looked at", "b.gguf": "second"})
    with worker(place):
        job = finished(record, job_id)
    assert job.state is State.DONE
    assert [entry["bytes"] for entry in job.result] == [5, 6, 5]
    assert len(record.steps(job_id)) == 5


def test_a_job_that_was_asked_for_while_no_worker_ran_is_done_by_the_next(
    place: Place, jobs: Callable[[], Jobs]
) -> None:
    place.add({"a.gguf": "first"})
    with worker(place):
        pass
    record = jobs()
    job_id = place.ask(record, once="nightly")
    assert place.ask(record, once="nightly") == job_id == "nightly"
    assert [job.state for job in record.list()] == [State.QUEUED]
    with worker(place):
        assert finished(record, job_id).state is State.DONE


def test_a_cancelled_job_stays_cancelled(place: Place, jobs: Callable[[], Jobs]) -> None:
    with worker(place):
        pass
    record = jobs()
    job_id = place.ask(record)
    record.cancel(job_id)
    assert record.get(job_id).state is State.CANCELLED
    with pytest.raises(JobNotFound, match="no job 'x'"):
        record.get("x")


def test_a_second_worker_is_refused_by_the_number_of_the_first(place: Place) -> None:
    with worker(place) as first:
        second = place.run("worker")
    assert second.returncode == 1
    assert f"has a worker already, process {first.pid}" in second.stderr


def test_the_worker_listens_on_no_port_and_stops_when_asked(place: Place) -> None:
    with worker(place) as process:
        connections = psutil.Process(process.pid).net_connections()
        assert not [c for c in connections if c.type is socket.SOCK_STREAM]
        process.send_signal(signal.SIGTERM)
        assert process.wait() == 0
    assert not place.heartbeat.exists()


def test_a_setting_that_does_not_exist_is_named(place: Place) -> None:
    command = [sys.executable, "-m", "rlhf", "jobs"]
    env = {**place.env, "RLHF_MODEL": "x"}
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "unknown settings: RLHF_MODEL. Known: " in done.stderr


def test_the_contract_is_free_of_torch_and_of_the_job_engine() -> None:
    code = "import sys, rlhf.jobs; print(*sys.modules)"
    loaded = subprocess.check_output([sys.executable, "-c", code], text=True).split()
    assert not {"torch", "dbos", "sqlalchemy"} & set(loaded)
