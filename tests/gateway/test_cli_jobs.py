"""`loopyard jobs | train | pipeline | datasets` against a gateway with a worker."""

from __future__ import annotations

import asyncio
import json
from functools import partial
from pathlib import Path

from typer.testing import CliRunner, Result

from gateway.cli import app
from tests.gateway.service import ADMIN_KEY, Gateway, until
from tests.gateway.test_jobs import SECONDS, ended
from tests.gateway.worker import preferences

PATIENT = """
name: patient
parameters: {question: null}
steps:
  ask:
    kind: approval
    with: {question: "${question}"}
"""


async def run(gateway: Gateway, *words: str, folder: str = "--data") -> Result:
    """The command in a thread: the gateway lives in this one."""
    data = gateway.settings.data
    (data / "run").mkdir(exist_ok=True)
    (data / "admin-key").write_text(ADMIN_KEY)
    (data / "run" / "gateway.json").write_text(json.dumps({"url": gateway.url}))
    where = [folder, str(data)] if folder else []
    return await asyncio.to_thread(CliRunner().invoke, app, [*words, *where])


async def test_a_file_is_added_listed_and_shown(working: Gateway, tmp_path: Path) -> None:
    file = tmp_path / "wishes.jsonl"
    file.write_bytes(preferences(4))
    added = await run(working, "datasets", "add", str(file))
    assert added.exit_code == 0, added.output
    assert "wishes: 4 rows, preference, jsonl" in added.output
    assert "rows: 4, errors: 0" in added.output
    assert "wishes" in (await run(working, "datasets", "list")).output
    shown = await run(working, "datasets", "show", "wishes")
    assert "rejected" in shown.output
    file.write_bytes(preferences(1) + b"nonsense\n")
    torn = await run(working, "datasets", "add", str(file), "--name", "torn")
    assert torn.exit_code == 1
    assert "torn:2: is not JSON" in torn.output.replace("\n", "")
    missing = await run(working, "datasets", "add", str(tmp_path / "none"))
    assert "There is no file" in str(missing.exception)


async def test_a_pipeline_is_started_shown_cancelled_and_its_log_read(
    working: Gateway, tmp_path: Path
) -> None:
    file = tmp_path / "patient.yaml"
    file.write_text(PATIENT)
    words = ("pipeline", "run", str(file), "--set", "question=May it?", "--no-follow")
    started = await run(working, *words)
    assert started.exit_code == 0, started.output
    job = started.output.removeprefix("job ").strip()
    listed = json.loads((await run(working, "jobs", "list", "--json")).output)
    assert job in [item["id"] for item in listed]
    cancelled = await run(working, "jobs", "cancel", job)
    assert cancelled.output.strip() == f"{job} is cancelled"
    followed = await run(working, "jobs", "logs", job, "-f")
    assert followed.exit_code == 1
    assert f"{job} is cancelled" in followed.output.replace("\n", "")
    plain = await run(working, "jobs", "logs", job)
    assert plain.exit_code == 0, plain.output
    shown = await run(working, "jobs", "show", job)
    assert "approval" in shown.output
    wrong = await run(working, "pipeline", "run", str(file), "--set", "question")
    assert "'question' is no parameter" in str(wrong.exception)


async def test_what_cannot_be_trained_is_told_before_anything_is_sent(
    working: Gateway, tmp_path: Path
) -> None:
    wrong = await run(working, "train", "magic", "--data", "x", folder="--data-folder")
    assert "neither a method nor a file" in str(wrong.exception)
    nothing = await run(working, "train", "dpo", "--data", "nowhere", folder="--data-folder")
    assert "'nowhere' is neither a file nor a dataset of demo" in str(nothing.exception)
    recipe = tmp_path / "mine.yaml"
    recipe.write_text("method: sft\ntrain: {epoch: 1}\n")
    file = tmp_path / "texts.jsonl"
    file.write_text('{"messages": [{"role": "user", "content": "hi"}]}\n')
    refused = await run(working, "train", str(recipe), "--data", str(file), folder="--data-folder")
    assert "did you mean epochs?" in str(refused.exception)


async def test_preferences_are_split_before_they_are_trained_on(working: Gateway, tmp_path: Path) -> None:
    file = tmp_path / "many.jsonl"
    file.write_bytes(preferences(30))
    words = ("train", "dpo", "--data", str(file), "--name", "wished", "--gpu", "--no-follow")
    started = await run(working, *words, folder="--data-folder")
    assert started.exit_code == 0, started.output
    assert "24 rows to train on, 6 held out" in started.output
    job = started.output.strip().splitlines()[-1].removeprefix("job ")
    asked = (await working.client.get(f"/api/v1/jobs/{job}")).json()
    assert (asked["kind"], asked["title"]) == ("train", "dpo on many split")
    assert (asked["asked"]["name"], asked["resource"]) == ("wished", "gpu")
    await run(working, "jobs", "cancel", job)


async def test_a_person_answers_a_pipeline_that_asks(working: Gateway, tmp_path: Path) -> None:
    file = tmp_path / "patient.yaml"
    file.write_text(PATIENT)
    for words, said, state in (
        ((), "ask is approved", "done"),
        (("ask", "--refuse"), "ask is refused", "failed"),
    ):
        begun = ("pipeline", "run", str(file), "--set", "question=May it?", "--no-follow")
        job = (await run(working, *begun)).output.removeprefix("job ").strip()
        await until(partial(waiting, working, job), SECONDS)
        answered = await run(working, "jobs", "approve", job, *words, "--note", "seen")
        assert (answered.exit_code, answered.output.strip()) == (0, said), answered.exception
        assert (await ended(working, job))["state"] == state
        again = await run(working, "jobs", "approve", job)
        assert "waits for approval" in str(again.exception)
        [latest] = (await working.client.get("/api/v1/audit", params={"limit": 1})).json()["items"]
        assert (latest["action"], latest["target"], latest["detail"]["step"]) == ("job.approve", job, "ask")


async def waiting(gateway: Gateway, job: str) -> bool:
    steps = (await gateway.client.get(f"/api/v1/jobs/{job}")).json()["steps"]
    return bool(steps and steps[0]["waits_for_approval"])


WRONG = """
name: small
steps:
  first:
    kind: colect
"""


async def test_a_pipeline_is_checked_before_it_is_run(working: Gateway, tmp_path: Path) -> None:
    good = await run(working, "pipeline", "check", "retrain", folder="")
    assert good.exit_code == 0, good.output
    assert "train  train  cpu  after parent, validate" in good.output
    file = tmp_path / "small.yaml"
    file.write_text(WRONG.lstrip())
    bad = await run(working, "pipeline", "check", str(file), folder="")
    assert bad.exit_code == 1
    said = f"{file}:4: step `first`: there is no kind of step `colect`; did you mean `collect`?"
    assert said in bad.output
    file.write_text(PATIENT)
    words = ("pipeline", "run", str(file), "--set", "question=?", "--from", "aks", "--no-follow")
    unknown = await run(working, *words)
    assert "`fresh` names no step aks. Steps: ask." in str(unknown.exception)


async def test_a_step_is_done_again_where_it_is_named(working: Gateway, tmp_path: Path) -> None:
    rows, file = tmp_path / "rows.jsonl", tmp_path / "collecting.yaml"
    rows.write_bytes(preferences(3))
    file.write_text("name: collecting\nparameters: {rows: null}\nsteps:\n  collect:\n    kind: collect\n")
    file.write_text(file.read_text() + '    with: {rows: "${rows}"}\n')
    reused = []
    for more in ((), (), ("--from", "collect")):
        words = ("pipeline", "run", str(file), "--set", f"rows={rows}", *more)
        done = await run(working, *words)
        assert done.exit_code == 0, done.output
        job = done.output.splitlines()[0].removeprefix("job ")
        reused.append((await working.client.get(f"/api/v1/jobs/{job}")).json()["steps"][0]["reused"])
    assert reused == [False, True, False]


async def test_a_pipeline_runs_by_itself_until_it_is_taken_away(working: Gateway, tmp_path: Path) -> None:
    file = tmp_path / "nightly.yaml"
    file.write_text(PATIENT.replace("patient", "nightly") + "schedule: {cron: '30 2 * * *'}\n")
    kept = await run(working, "pipeline", "schedule", str(file), "--set", "question=now?")
    assert (kept.exit_code, kept.output.strip()) == (0, "nightly runs at 30 2 * * * (UTC)"), kept.exception
    assert "30 2 * * *" in (await run(working, "pipeline", "schedules")).output
    gone = await run(working, "pipeline", "unschedule", "nightly")
    assert gone.exit_code == 0, gone.exception
    assert "No pipeline runs by itself" in (await run(working, "pipeline", "schedules")).output
