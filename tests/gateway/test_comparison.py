"""An adapter is compared with the base by a tool: started, watched, read as figures and as a page."""

from __future__ import annotations

import json
from typing import Any

import httpx2
import pytest
from fastmcp import Client
from fastmcp.exceptions import ToolError
from pydantic import SecretStr

from rlhf.registry import PAIRS
from tests.gateway.test_models import PATIENT, Place, ended, model_url, place  # noqa: F401
from tests.gateway.worker import preferences
from tools.context import LocalCaller
from tools.settings import Settings
from tools.training.server import create_jobs, create_training

DATASETS, JOBS = "/api/v1/datasets", "/api/v1/jobs"


def tools(place: Place, create: Any) -> Client[Any]:  # noqa: F811
    """A tool server on its own, which acts with the operator's key."""
    key = place.client.headers["Authorization"].removeprefix("Bearer ")
    url = str(place.client.base_url).rstrip("/")
    settings = Settings(gateway_url=url, gateway_key=SecretStr(key), data=place.data / "tools")
    return Client(create(settings, LocalCaller(project="demo", callback=key)))


async def built(place: Place, name: str, content: bytes) -> dict[str, Any]:  # noqa: F811
    """A dataset of rows, split."""
    sent = await place.client.post(DATASETS, files={"file": (f"{name} rows.jsonl", content)})
    assert sent.status_code == 201, sent.text
    asked = await place.client.post(f"{DATASETS}/build", json={"name": name, "sources": [sent.json()["id"]]})
    assert asked.status_code == 202, asked.text
    job = await ended(place, asked.json()["job_id"])
    assert job["state"] == "done", job["error"]
    found: dict[str, Any] = (await place.client.get(f"{DATASETS}/{name}")).json()
    return found


@PATIENT
async def test_a_comparison_is_started_watched_and_read(place: Place) -> None:  # noqa: F811
    await built(place, "judged", preferences(20))
    version = place.add("compared", 7)
    wanted: dict[str, Any] = {"name": "compared", "dataset": "judged", "version": version.short}
    wanted |= {"prompts": 3, "cases": 0, "likelihood": 2}
    told: list[tuple[float, float | None, str | None]] = []

    async def progress(done: float, total: float | None, text: str | None) -> None:
        told.append((done, total, text))

    async with tools(place, create_training) as training, tools(place, create_jobs) as jobs:
        started = await training.call_tool("evaluate", wanted)
        job = started.structured_content["id"]
        assert started.structured_content["title"] == f"evaluate compared {version.short} on judged"
        assert started.structured_content["kind"] == "evaluate"
        with pytest.raises(ToolError, match=r"a comparison is there once it is done"):
            await training.call_tool("compare", {"job": job})
        state = "queued"
        while state not in ("done", "failed", "cancelled"):
            seen = await jobs.call_tool("watch", {"job": job, "seconds": 40}, progress_handler=progress)
            state = seen.structured_content["state"]
        assert state == "done", seen.content[0].text
        assert told[-1][:2] == (1.0, 1.0)
        assert any(0 < done < 1 for done, _, _ in told)
        compared = await training.call_tool("compare", {"job": job})
    found, said = compared.structured_content, compared.content[0].text
    assert found["candidate"] == f"tiny:compared-candidate@{version.digest}"
    assert found["current"] == "tiny"
    assert found["judge"] == "like_chosen"
    assert found["verdict"] == "not enough data"
    assert found["wins"] + found["losses"] + found["ties"] == 3
    assert found["likelihood"]["held-out answers"]["candidate"]["perplexity"] > 0
    assert f"Report: {found['html']}" in said
    assert "not enough data" in said
    page = await place.client.get(found["html"])
    assert page.status_code == 200
    assert page.headers["content-type"].startswith("text/html")
    assert "sandbox" in page.headers["content-security-policy"]
    assert f"compared {version.short}" in page.text
    # Nothing is promoted, served or said of the version by looking at it.
    assert await place.stable("compared") is None
    detail = await place.client.get(f"/api/v1/models-registry/compared/versions/{version.short}")
    assert detail.json()["report"] is None


@PATIENT
async def test_a_version_is_not_examined_on_what_it_has_learnt(place: Place) -> None:  # noqa: F811
    await built(place, "learnt", preferences(24))
    version = place.add("knowing", 8)
    shown = await place.client.get(f"{DATASETS}/learnt/download", params={"part": "held_out"})
    one = json.loads(shown.text.splitlines()[0])["pair_id"]
    line = json.loads((version.folder / PAIRS).read_text())
    (version.folder / PAIRS).write_text(json.dumps({**line, "pair_id": one}) + "\n")
    body = {"kind": "evaluate", "name": "knowing", "dataset": "learnt", "version": version.short}
    asked = await place.client.post(JOBS, json=body)
    job = await ended(place, asked.json()["id"])
    assert job["state"] == "failed"
    assert f"has learnt from 1 of the 5 held-out rows, such as {one}" in job["error"]


async def refused(place: Place, headers: dict[str, str] | None = None, **changes: Any) -> httpx2.Response:  # noqa: F811
    body = {"kind": "evaluate", "name": "asked", "dataset": "said", "version": "candidate", **changes}
    return await place.client.post(JOBS, json=body, headers=headers or {})


@PATIENT
async def test_what_cannot_be_compared_is_refused_at_once(place: Place) -> None:  # noqa: F811
    version = place.add("asked", 9)
    await built(place, "said", preferences(21))
    labels = b"".join(b'{"text": "what is %d of %d", "label": "a"}\n' % (at, at) for at in range(12))
    await built(place, "labels", labels)
    for changes, status, text in (
        ({}, 400, f"`candidate` is no version of the adapter `asked`; there are: {version.short}"),
        ({"dataset": "labels", "version": version.short}, 400, "holds label rows"),
        ({"dataset": "said rows", "version": version.short}, 400, "holds file rows"),
        ({"judge": "model", "version": version.short}, 400, "needs `judge_model`"),
        ({"judge": "people"}, 422, "judge"),
        ({"cases": -1}, 422, "cases"),
    ):
        answer = await refused(place, **changes)
        assert answer.status_code == status, answer.text
        assert text in answer.text
    key = await place.client.post("/api/v1/keys", json={"name": "k", "scopes": ["manage"], "project": "demo"})
    theirs = {"Authorization": f"Bearer {key.json()['key']}"}
    answer = await refused(place, theirs, version=version.short)
    assert (answer.status_code, "was not trained in this project" in answer.text) == (403, True)
    mine = place.registry.add("mine", version.folder, {"base": "tiny", "project": await demo(place)}, [])
    reward = {"name": "mine", "version": mine.short, "judge": "reward", "judge_model": "/etc"}
    answer = await refused(place, theirs, **reward)
    assert (answer.status_code, "for admins only" in answer.text) == (403, True)
    build = (await place.client.get(f"{DATASETS}/said")).json()["job_id"]
    for what in ("comparison", "report"):
        answer = await place.client.get(f"{JOBS}/{build}/{what}")
        assert (answer.status_code, "has compared nothing" in answer.text) == (400, True)


async def demo(place: Place) -> str:  # noqa: F811
    return str((await place.client.get("/api/v1/projects/demo")).json()["id"])
