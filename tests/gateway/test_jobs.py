"""Jobs through the gateway, done by a real worker: built, followed, cancelled, resumed; nobody else's."""

from __future__ import annotations

import asyncio
import csv
import io
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from gateway.datasets import service
from rlhf.data.folder import verify_split
from tests.gateway.service import Gateway, until
from tests.gateway.worker import preferences
from tests.rlhf.rows import plain

JOBS, DATASETS = "/api/v1/jobs", "/api/v1/datasets"
SECONDS = 100.0
PATIENT = {"name": "patient", "steps": {"ask": {"kind": "approval", "with": {"question": "go on?"}}}}


async def upload(gateway: Gateway, name: str, content: bytes, project: str = "demo") -> dict[str, Any]:
    files = {"file": (f"{name}.jsonl", content)}
    sent = await gateway.client.post(DATASETS, files=files, headers={"X-Project": project})
    assert sent.status_code == 201, sent.text
    found: dict[str, Any] = sent.json()
    return found


async def ended(gateway: Gateway, job_id: str, seconds: float = SECONDS) -> dict[str, Any]:
    async def look() -> dict[str, Any] | None:
        job: dict[str, Any] = (await gateway.client.get(f"{JOBS}/{job_id}")).json()
        return job if job["state"] in ("done", "failed", "cancelled") else None

    found: dict[str, Any] = await until(look, seconds)
    return found


async def waits(gateway: Gateway) -> str:
    """A job that waits for a person, and so neither ends nor computes."""
    asked = await gateway.client.post(JOBS, json={"kind": "pipeline", "spec": PATIENT})
    assert asked.status_code == 202, asked.text
    job_id = str(asked.json()["id"])

    async def waiting() -> bool:
        steps = (await gateway.client.get(f"{JOBS}/{job_id}")).json()["steps"]
        return bool(steps and steps[0]["waits_for_approval"])

    await until(waiting, SECONDS)
    return job_id


async def read(answer: httpx2.Response) -> AsyncIterator[tuple[str, str, dict[str, Any]]]:
    """(id, name, data) of each event."""
    number = name = ""
    async for line in answer.aiter_lines():
        key, _, value = line.partition(": ")
        if key == "id":
            number = value
        elif key == "event":
            name = value
        elif key == "data":
            yield number, name, json.loads(value)
            number = ""


async def test_a_dataset_is_built_split_and_exported(working: Gateway) -> None:
    client = working.client
    formula = json.dumps(plain("what shall the sheet run today", good="=cmd()")).encode()
    rows = preferences(40) + preferences(2) + formula
    source = await upload(working, "pairs", rows)
    asked = await client.post(f"{DATASETS}/build", json={"name": "first", "sources": ["pairs"], "seed": 3})
    assert asked.status_code == 202, asked.text
    job = await ended(working, asked.json()["job_id"])
    assert (job["state"], job["kind"], job["title"]) == ("done", "dataset", "build first"), job
    assert job["progress"]["done"] == 1
    built = (await client.get(f"{DATASETS}/first")).json()
    assert (built["state"], built["rows"], built["facts"]["rows"]) == (
        "ready",
        41,
        {"train": 33, "held_out": 8},
    )
    assert [one["id"] for one in built["parents"]] == [source["id"]]
    parent = (await client.get(f"{DATASETS}/pairs")).json()
    assert [one["name"] for one in parent["children"]] == ["first"]
    folder = working.settings.objects / "datasets" / built["digest"][:12]
    assert verify_split(folder).digest == built["digest"]
    at = f"{DATASETS}/first/download"
    train = await client.get(at, params={"part": "train"})
    assert len(train.content.splitlines()) == 33
    sheets = [(await client.get(at, params={"part": p, "format": "csv"})).text for p in ("train", "held_out")]
    cells = [cell for sheet in sheets for line in csv.reader(io.StringIO(sheet)) for cell in line]
    assert "'=cmd()" in cells
    assert not [cell for cell in cells if cell.startswith(("=", "+", "-", "@"))]
    assert (await client.get(at, params={"part": "card"})).text.startswith("# Preferences")
    assert (await client.delete(f"{DATASETS}/first")).status_code == 204


async def test_a_build_that_fails_says_file_and_line(working: Gateway) -> None:
    await upload(working, "torn", preferences(3) + b'{"prompt": 1}\n')
    asked = await working.client.post(f"{DATASETS}/build", json={"name": "never", "sources": ["torn"]})
    job = await ended(working, asked.json()["job_id"])
    assert job["state"] == "failed"
    assert "torn:4: " in job["error"]
    row = (await working.client.get(f"{DATASETS}/never")).json()
    assert row["state"] == "failed"
    assert "torn:4: " in row["error"]
    assert str(working.settings.data) not in row["error"]


async def test_a_long_file_is_checked_by_a_job(working: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "LONG", 10)
    await upload(working, "long", preferences(3) + preferences(1))
    asked = await working.client.post(f"{DATASETS}/long/validate")
    assert asked.status_code == 202
    job = await ended(working, asked.json()["job_id"])
    report = job["result"]["check"]["report"]
    assert report["rows"] == 4
    assert report["findings"][0]["examples"] == ["long:4 is like long:1"]


async def test_the_log_is_followed_and_taken_up_where_it_was_left(working: Gateway) -> None:
    job_id = await waits(working)
    at = f"{JOBS}/{job_id}/events"
    async with working.client.stream("GET", at) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        lines: list[tuple[str, str, dict[str, Any]]] = []
        async for number, name, data in read(answer):
            if name == "line":
                lines.append((number, name, data))
            if name == "line" and "waits for approval" in data["text"]:
                break
    assert [int(number) for number, _, _ in lines] == list(range(1, len(lines) + 1))
    last = lines[-1][0]

    async def rest() -> list[tuple[str, str, dict[str, Any]]]:
        async with working.client.stream("GET", at, headers={"Last-Event-ID": last}) as answer:
            return [event async for event in read(answer)]

    following = asyncio.create_task(rest())
    yes = {"step": "ask", "approved": True, "note": "fine"}
    approved = await working.client.post(f"{JOBS}/{job_id}/approve", json=yes)
    assert approved.status_code == 200, approved.text
    events = await asyncio.wait_for(following, SECONDS)
    assert all(int(number) > int(last) for number, name, _ in events if name == "line")
    assert (events[-1][1], events[-1][2]["state"]) == ("end", "done")
    assert events[0][1] in ("line", "job")
    history = (await working.client.get(f"{JOBS}/{job_id}/log", params={"after": 1})).json()["items"]
    assert history[0]["seq"] == 2


async def test_a_job_is_cancelled_resumed_and_erased(working: Gateway) -> None:
    job_id = await waits(working)
    cancelled = await working.client.delete(f"{JOBS}/{job_id}")
    assert (cancelled.status_code, cancelled.json()["state"]) == (202, "cancelled")
    async with working.client.stream("GET", f"{JOBS}/{job_id}/events") as answer:
        (end,) = [data async for _, name, data in read(answer) if name == "end"]
    assert end["state"] == "cancelled"
    resumed = await working.client.post(f"{JOBS}/{job_id}/resume")
    assert resumed.status_code == 200, resumed.text
    assert resumed.json()["state"] in ("queued", "running")
    twice = await working.client.post(f"{JOBS}/{job_id}/resume")
    assert (twice.status_code, twice.json()["error"]["code"]) == (400, "job_refused")
    stopped = await working.client.post(f"{JOBS}/{job_id}/stop")
    assert stopped.json()["state"] == "cancelled"
    assert (await working.client.delete(f"{JOBS}/{job_id}")).status_code == 204
    assert (await working.client.get(f"{JOBS}/{job_id}")).status_code == 404
    acts = [entry["action"] for entry in (await working.client.get("/api/v1/audit")).json()["items"]]
    assert acts[:4] == ["job.erase", "job.cancel", "job.resume.failed", "job.resume"]


@pytest.mark.parametrize(
    ("body", "status", "text"),
    [
        ({"kind": "brew"}, 422, "kind"),
        ({"kind": "train"}, 422, "dataset"),
        ({"kind": "train", "dataset": "x", "method": "magic"}, 422, "method"),
        ({"kind": "train", "dataset": "x", "recipe": {"train": {"epoch": 1}}}, 400, "did you mean epochs?"),
        ({"kind": "train", "dataset": "nowhere"}, 404, "No dataset 'nowhere'"),
        ({"kind": "pipeline", "spec": {"name": "x", "steps": {}}}, 400, "a mapping of names to steps"),
        ({"kind": "pipeline", "spec": {"name": "x", "steps": {"a": {}}}}, 400, "have no kind: a"),
        ({"kind": "check", "priority": 0}, 422, "priority"),
    ],
)
async def test_what_makes_no_sense_is_refused(
    working: Gateway, body: dict[str, Any], status: int, text: str
) -> None:
    before = (await working.client.get(JOBS)).json()["items"]
    asked = await working.client.post(JOBS, json=body)
    assert asked.status_code == status, asked.text
    assert text in asked.json()["error"]["message"]
    assert (await working.client.get(JOBS)).json()["items"] == before


async def test_who_may_only_ask_agents_starts_and_sees_no_job(working: Gateway) -> None:
    job_id = await waits(working)
    key = working.key(await working.new_key(scopes=["chat", "tools"]))
    for path in ("", f"/{job_id}", f"/{job_id}/log", f"/{job_id}/events"):
        assert (await working.client.get(JOBS + path, headers=key)).status_code == 403
    body = {"kind": "train", "dataset": "pairs"}
    assert (await working.client.post(JOBS, json=body, headers=key)).status_code == 403
    assert (await working.client.delete(f"{JOBS}/{job_id}", headers=key)).status_code == 403
    await working.client.delete(f"{JOBS}/{job_id}")


async def test_a_key_of_another_project_learns_nothing_of_a_job(working: Gateway) -> None:
    job_id = await waits(working)
    await working.client.post("/api/v1/projects", json={"name": "elsewhere"})
    key = working.key(await working.new_key(scopes=["manage"], project="elsewhere"))
    paths = [f"/{job_id}", f"/{job_id}/log", f"/{job_id}/events", "/no-such-job", "/../../etc/passwd"]
    for path in paths:
        assert (await working.client.get(JOBS + path, headers=key)).status_code == 404
    for verb in ("cancel", "resume", "stop"):
        assert (await working.client.post(f"{JOBS}/{job_id}/{verb}", headers=key)).status_code == 404
    assert (await working.client.get(JOBS, headers=key)).json()["items"] == []
    mine = working.key(await working.new_key(scopes=["manage"], project="demo"))
    yes = {"step": "ask", "approved": True}
    assert (await working.client.get(f"{JOBS}/{job_id}", headers=mine)).status_code == 200
    refused = await working.client.post(f"{JOBS}/{job_id}/approve", json=yes, headers=mine)
    assert refused.status_code == 403
    # A pipeline names files of the server: a key that only manages may not start one, nor rehearse a file.
    for body in (
        {"kind": "pipeline", "spec": PATIENT},
        {"kind": "check"},
        {"kind": "train", "dataset": "x", "method": "sft", "recipe": {"replay": {"rows": "/etc/passwd"}}},
    ):
        assert (await working.client.post(JOBS, json=body, headers=key)).status_code == 403, body
    await working.client.delete(f"{JOBS}/{job_id}")


async def test_jobs_that_nobody_asked_for_here_are_the_operators(working: Gateway, tmp_path: Path) -> None:
    from rlhf.jobs import Jobs

    with Jobs(working.settings.jobs) as jobs:
        job_id = jobs.ask_for_check(working.settings.jobs, tmp_path)
    assert (await ended(working, job_id))["state"] == "failed"
    listed = (await working.client.get(JOBS)).json()["items"]
    assert job_id in [job["id"] for job in listed]
    key = working.key(await working.new_key(scopes=["manage"]))
    assert job_id not in [job["id"] for job in (await working.client.get(JOBS, headers=key)).json()["items"]]
    assert (await working.client.get(f"{JOBS}/{job_id}/log", headers=key)).status_code == 404
