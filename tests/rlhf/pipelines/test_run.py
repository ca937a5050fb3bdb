"""Pipelines on a real worker: order, parallel steps, reuse, failures, cancel, approval, priorities."""

import json
import os
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from rlhf.errors import JobRefused
from rlhf.jobs import Jobs, Kind, State
from tests.rlhf.pipelines.conftest import made
from tests.rlhf.working import Place, finished, until, worker

NO_RETRY = {"times": 0}
FAST = {"times": 3, "seconds": 0.2, "factor": 2}


def writing(tmp: Path, name: str, **more: Any) -> dict[str, Any]:
    """A step that writes."""
    keys: dict[str, Any] = {key: more.pop(key) for key in ("from", "after", "retry") if key in more}
    return {"kind": "write", "with": {"ledger": str(tmp / "ledger"), "name": name, **more}, **keys}


def troubled(tmp: Path, kind: str, **more: Any) -> dict[str, Any]:
    """A step that fails."""
    keys: dict[str, Any] = {key: more.pop(key) for key in ("retry", "memory_mb") if key in more}
    return {"kind": "trouble", "with": {"kind": kind, "ledger": str(tmp / "ledger"), **more}, **keys}


def ask(jobs: Jobs, steps: dict[str, Any], **more: Any) -> str:
    return jobs.ask(Kind.PIPELINE, {"name": "test", "steps": steps, **more}, {}, title="test")


def waits(jobs: Jobs, job_id: str) -> None:
    """Until a step waits for approval."""
    until(lambda: any(part.waits_for_approval for part in jobs.parts(job_id)))


def starts(tmp: Path) -> list[str]:
    lines = (tmp / "ledger").read_text().splitlines()
    return [line.removeprefix("start ") for line in lines if line.startswith("start")]


def partials(place: Place) -> list[Path]:
    folder = place.root / "objects" / "steps"
    return list(folder.glob(".*.partial")) if folder.exists() else []


def test_steps_follow_what_they_need_and_say_how_far_they_are(jobs: Jobs, tmp_path: Path) -> None:
    steps = {
        "last": writing(tmp_path, "last", **{"from": {"a": "left", "b": "right.text"}}),
        "left": writing(tmp_path, "left"),
        "right": writing(tmp_path, "right", **{"from": {"a": "left"}}),
    }
    job = finished(jobs, ask(jobs, steps))
    assert (job.state, job.error) == (State.DONE, "")
    assert starts(tmp_path) == ["left", "right", "last"]
    assert job.title == "test"
    assert job.progress is not None
    assert job.progress.done == 1
    assert [(part.name, part.state, part.reused) for part in jobs.parts(job.id)] == [
        ("last", State.DONE, False),
        ("left", State.DONE, False),
        ("right", State.DONE, False),
    ]
    text = job.result["last"]["text"]
    assert Path(text["path"]).read_text()
    assert text["digest"].startswith("sha256:")
    log = jobs.log(job.id)
    assert [line.seq for line in log] == list(range(1, len(log) + 1))
    assert [line.text for line in log if line.step == "left"][:3] == [f"wrote part {n}" for n in range(3)]
    assert [line.seq for line in jobs.log(job.id, after=4)] == list(range(5, len(log) + 1))


def test_what_is_unchanged_is_not_done_again(jobs: Jobs, tmp_path: Path) -> None:
    steps = {"a": writing(tmp_path, "a"), "b": writing(tmp_path, "b", **{"from": {"a": "a"}})}
    first = finished(jobs, ask(jobs, steps))
    again = finished(jobs, ask(jobs, steps))
    assert again.result == first.result
    assert [part.reused for part in jobs.parts(again.id)] == [True, True]
    steps["b"]["with"]["parts"] = 4
    third = finished(jobs, ask(jobs, steps))
    assert [part.reused for part in jobs.parts(third.id)] == [True, False]
    fresh = finished(jobs, ask(jobs, steps, fresh=["a"]))
    # Done afresh with the same result: what depends on it has not changed.
    assert [part.reused for part in jobs.parts(fresh.id)] == [False, True]
    assert starts(tmp_path) == ["a", "b", "b", "a"]
    # An output that was tampered with is made again.
    Path(third.result["b"]["text"]["path"]).write_text("other")
    mended = finished(jobs, ask(jobs, steps))
    assert [part.reused for part in jobs.parts(mended.id)] == [True, False]
    assert mended.result["b"]["text"]["digest"] == third.result["b"]["text"]["digest"]


def test_independent_steps_run_at_the_same_time(jobs: Jobs, tmp_path: Path) -> None:
    one, two = str(tmp_path / "one"), str(tmp_path / "two")
    steps = {
        "one": {"kind": "meet", "with": {"makes": one, "waits_for": two}},
        "two": {"kind": "meet", "with": {"makes": two, "waits_for": one}},
    }
    assert finished(jobs, ask(jobs, steps)).state is State.DONE


def test_a_failure_that_passes_is_tried_again_after_growing_pauses(jobs: Jobs, tmp_path: Path) -> None:
    steps = {"a": troubled(tmp_path, "hiccup", passes_after=3, retry=FAST)}
    job = finished(jobs, ask(jobs, steps))
    assert job.state is State.DONE
    times = [float(line) for line in (tmp_path / "ledger").read_text().splitlines()]
    assert len(times) == 4
    # Lower bounds alone: a busy machine makes them longer.
    pauses = [late - early for early, late in pairwise(times)]
    assert all(pause >= least for pause, least in zip(pauses, (0.2, 0.4, 0.8), strict=True))
    log = [line for line in jobs.log(job.id) if line.step == "a"]
    errors = [line.text for line in log if line.level == "error"]
    assert errors == ["RuntimeError: the server hiccuped"] * 3
    assert "attempt 4 of 4" in [line.text for line in log]


@pytest.mark.parametrize(
    ("kind", "said", "attempts"),
    [
        ("disk", "the disk is full", 1),
        ("memory", "memory ran out", 1),
        ("rows", "row 7 has no prompt", 1),
        ("killed", "was killed (signal 9)", 2),
        ("hiccup", "RuntimeError: the server hiccuped", 2),
    ],
)
def test_a_failure_is_told_and_leaves_nothing_half_made(
    place: Place, jobs: Jobs, tmp_path: Path, kind: str, said: str, attempts: int
) -> None:
    retry = {"times": 1, "seconds": 0}
    steps = {
        "a": troubled(tmp_path, kind, retry=retry, memory_mb=1000),
        "b": writing(tmp_path, "b", **{"from": {"a": "a"}}),
    }
    job = finished(jobs, ask(jobs, steps))
    assert job.state is State.FAILED
    assert "step `a`: " in job.error
    assert said in job.error
    assert len((tmp_path / "ledger").read_text().splitlines()) == attempts
    assert [part.state for part in jobs.parts(job.id)] == [State.FAILED, None]
    assert partials(place) == []


def test_an_output_that_is_only_promised_is_a_failure(place: Place, jobs: Jobs) -> None:
    job = finished(jobs, ask(jobs, {"a": {"kind": "promise"}}))
    assert "the output `text` names whole, which the step has not made" in job.error
    assert partials(place) == []


def test_a_failed_job_goes_on_where_it_was(jobs: Jobs, tmp_path: Path) -> None:
    steps = {
        "a": writing(tmp_path, "a"),
        "b": {**troubled(tmp_path / "other", "rows", passes_after=1), "after": ["a"]},
    }
    (tmp_path / "other").mkdir()
    job_id = ask(jobs, steps)
    assert finished(jobs, job_id).state is State.FAILED
    jobs.resume(job_id)
    job = finished(jobs, job_id)
    assert job.state is State.DONE, job.error
    assert [part.reused for part in jobs.parts(job_id)] == [True, False]
    assert starts(tmp_path) == ["a"]
    with pytest.raises(JobRefused, match="is done; only one that failed or was cancelled"):
        jobs.resume(job_id)


def test_cancel_kills_everything_that_a_step_started(place: Place, jobs: Jobs, tmp_path: Path) -> None:
    with_ = {"makes": str(tmp_path / "here"), "waits_for": str(tmp_path / "go"), "pid": str(tmp_path / "pid")}
    job_id = ask(jobs, {"a": {"kind": "meet", "with": with_}})
    until(lambda: (tmp_path / "here").exists())
    numbers = [int(n) for n in (tmp_path / "pid").read_text().split()]
    assert [Path(f"/proc/{n}").exists() for n in numbers] == [True, True]
    assert len(partials(place)) == 1
    jobs.cancel(job_id)
    assert jobs.get(job_id).state is State.CANCELLED
    until(lambda: not any(alive(n) for n in numbers))
    until(lambda: partials(place) == [])
    assert [part.state for part in jobs.parts(job_id)] == [State.CANCELLED]
    (tmp_path / "go").write_text("")
    jobs.resume(job_id)
    assert finished(jobs, job_id).state is State.DONE


def alive(pid: int) -> bool:
    """Whether a process runs; one that nobody has waited for is dead."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_person_lets_a_pipeline_go_on_or_stops_it(jobs: Jobs, tmp_path: Path) -> None:
    steps = {
        "ask": {"kind": "approval", "with": {"question": "is it good?"}},
        "a": writing(tmp_path, "a", after=["ask"]),
    }
    for approved in (True, False):
        job_id = ask(jobs, steps)
        with pytest.raises(JobRefused, match=r"`a` of job .* does not wait"):
            jobs.approve(job_id, "a", True, "ada")
        waits(jobs, job_id)
        assert jobs.get(job_id).state is State.RUNNING
        jobs.approve(job_id, "ask", approved, "ada", "looks right")
        job = finished(jobs, job_id)
        assert job.state is (State.DONE if approved else State.FAILED)
    assert "ada has refused it: looks right" in job.error
    assert starts(tmp_path) == ["a"]


def test_an_urgent_job_overtakes_those_that_wait(tmp_path: Path) -> None:
    go, here = tmp_path / "go", tmp_path / "here"
    place = made(tmp_path, RLHF_CPU_JOBS="1")
    with worker(place), Jobs(place.root / "jobs") as jobs:
        with_ = {"makes": str(here), "waits_for": str(go)}
        blocker = ask(jobs, {"a": {"kind": "meet", "with": with_}})
        until(here.exists)
        order = [
            jobs.ask(Kind.PIPELINE, {"name": n, "steps": {"a": writing(tmp_path, n)}}, {}, priority=priority)
            for n, priority in (("late", 9), ("normal", 5), ("urgent", 1))
        ]
        # Each waits in the queue of the processors before any of them may run.
        until(lambda: all(part.state is State.QUEUED for job in order for part in jobs.parts(job)))
        go.write_text("")
        assert [finished(jobs, job).state for job in (blocker, *order)] == [State.DONE] * 4
    assert starts(tmp_path) == ["urgent", "normal", "late"]


def test_a_job_that_nobody_can_do_is_refused(jobs: Jobs) -> None:
    with pytest.raises(
        JobRefused, match=r"no worker does jobs of the kind 'pipelines'; did you mean pipeline\?"
    ):
        jobs.ask("pipelines", {})
    with pytest.raises(JobRefused, match="the priority 0 is not between 1 and 10000"):
        jobs.ask(Kind.CHECK, "", "", priority=0)
    with pytest.raises(JobRefused, match=r"the id '\.\./x'"):
        jobs.ask(Kind.CHECK, "", "", once="../x")


def test_a_pipeline_that_makes_no_sense_fails_with_every_reason(jobs: Jobs, tmp_path: Path) -> None:
    steps = {"a": {"kind": "wriet"}, "b": writing(tmp_path, "b", **{"from": {"c": "a"}})}
    job = finished(jobs, ask(jobs, steps))
    assert "step `a`: there is no kind of step `wriet`; did you mean `write`?" in job.error
    assert not json.dumps(job.error).count(str(os.getpid()))
