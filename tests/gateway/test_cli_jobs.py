"""`loopyard jobs | train | pipeline | datasets` against a gateway with a worker."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

from typer.testing import CliRunner, Result

from gateway.cli import app
from tests.gateway.service import ADMIN_KEY, Gateway
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
    return await asyncio.to_thread(CliRunner().invoke, app, [*words, folder, str(data)])


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
