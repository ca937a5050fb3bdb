"""What was made of a user's words goes with them: tasks, datasets, lineage; the report says what is left."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
from sqlalchemy import delete
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from typer.testing import CliRunner

from annotation.push import shown
from annotation.record import Record
from gateway.cli_traces import app
from gateway.conversations.store import Conversation
from rlhf.data.folder import MANIFEST
from rlhf.registry import PAIRS, Registry
from tests.annotation.tasks import a_task
from tests.gateway.conftest import clerk
from tests.gateway.service import ADMIN_KEY, Gateway, events, neighbours, running, settings, until
from tests.gateway.worker import preferences
from tests.graphs.model_server import serving

DATASETS = "/api/v1/datasets"
USER, SECRET = "client/ada", "my-unlisted-number"
ADA = f"/api/v1/users/{USER}/data"


def rows(user: str, *, count: int = 40, more: str = "") -> bytes:
    """Every second row is of the user, and says the secret."""
    found = [json.loads(line) for line in preferences(count).splitlines()]
    for row in found[::2]:
        row["user"] = user
        row["prompt"][0]["content"] += f" {SECRET}"
    for at, row in enumerate(found[1::2]):
        row["user"] = f"bo{at}{more}"
    return b"".join(json.dumps(row).encode() + b"\n" for row in found)


def pair(number: int, user: str, **more: Any) -> bytes:
    said = f"{user} asks {number}" + (SECRET if user == USER else "")
    line = {"pair_id": f"p{number}", "prompt": said, "answers": ["one", "two"], "user": user, **more}
    return json.dumps(line).encode() + b"\n"


async def upload(gateway: Gateway, name: str, content: bytes) -> httpx2.Response:
    return await gateway.client.post(DATASETS, files={"file": (name, content)})


async def judged(gateway: Gateway) -> None:
    """Three tasks, two of them ada's, each judged with a comment."""
    at, content = "/api/v1/annotation/demo", pair(1, USER) + pair(2, "bo") + pair(3, USER)
    sent = await gateway.client.post(f"{at}/tasks", files={"file": ("pairs.jsonl", content)})
    assert sent.json()["added"] == 3, sent.text
    while task := (await gateway.client.get(f"{at}/next")).json()["task"]:
        said = {"choice": "left", "comment": f"about {task['prompt'][0]['content']}"}
        assert (await gateway.client.put(f"{at}/tasks/{task['id']}/judgement", json=said)).status_code == 200


async def erased(gateway: Gateway, address: str = ADA) -> dict[str, Any]:
    answer = await gateway.client.delete(address)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def holding(folder: Path, text: str) -> list[str]:
    """Files below a folder that have a text in them."""
    files = (file for file in folder.rglob("*") if file.is_file())
    return [str(file) for file in files if text.encode() in file.read_bytes()]


async def test_annotation_tasks_go_with_what_was_said_of_them(any_gateway: Gateway) -> None:
    await judged(any_gateway)
    done = await erased(any_gateway)
    assert done["annotation"] == {"tasks": 2, "judgements": 2, "rows": 0, "label_studio": 0}
    assert done["unreached"] == []
    export = (await any_gateway.client.get("/api/v1/annotation/demo/export")).text
    assert [json.loads(line)["pair_id"] for line in export.splitlines()] == ["p2"]
    assert holding(any_gateway.settings.data, SECRET) == []
    assert (await erased(any_gateway))["annotation"]["tasks"] == 0
    # A judgement of somebody who is forgotten goes too, the task stays.
    me = (await any_gateway.client.get("/api/v1/me")).json()["id"]
    assert (await erased(any_gateway, f"/api/v1/users/{me}/data"))["annotation"]["judgements"] == 1
    assert (await any_gateway.client.get("/api/v1/annotation/demo/next")).json()["progress"]["left"] == 1


async def test_a_dataset_is_withdrawn_and_cannot_come_back(any_gateway: Gateway) -> None:
    client, content = any_gateway.client, rows(USER)
    item = (await upload(any_gateway, "mine.jsonl", content)).json()
    other = preferences(5, user="bo")
    assert (await upload(any_gateway, "other.jsonl", other)).status_code == 201
    await upload(any_gateway, "labels.csv", b"text,label\na,b\n")
    done = await erased(any_gateway)
    one = {"digest": item["digest"], "names": ["mine"], "kind": "file", "rows": 40, "theirs": 20}
    withdrawn = [{**one, "adapters": []}]
    assert done["datasets"] == {"withdrawn": withdrawn, "copies": 0, "reports": 0, "unattributed": ["labels"]}
    shown = (await client.get(f"{DATASETS}/mine")).json()
    assert (shown["state"], shown["rows"], shown["shape"]) == ("withdrawn", 40, "preference")
    assert shown["facts"].keys() == {"rows", "shape", "withdrawn"}
    folder = any_gateway.settings.objects / "datasets" / item["digest"]
    assert [file.name for file in folder.iterdir()] == [MANIFEST]
    assert holding(any_gateway.settings.data, SECRET) == []
    for refused in (
        await client.get(f"{DATASETS}/mine/download"),
        await client.post(f"{DATASETS}/mine/validate"),
        await client.post(f"{DATASETS}/build", json={"name": "x", "sources": ["mine"]}),
        await upload(any_gateway, "again.jsonl", content),
    ):
        assert refused.status_code == 409, refused.text
        assert "was withdrawn on" in refused.json()["error"]["message"]
    assert (await client.delete(f"{DATASETS}/mine")).status_code == 204
    assert (await upload(any_gateway, "again.jsonl", content)).status_code == 409
    assert (await client.get(f"{DATASETS}/other/download")).content == other
    assert (await erased(any_gateway))["datasets"]["withdrawn"] == []
    for name in ("other", "labels"):
        assert (await client.delete(f"{DATASETS}/{name}")).status_code == 204


async def test_it_is_audited_under_a_pseudonym(any_gateway: Gateway) -> None:
    await erased(any_gateway)
    entries = (await any_gateway.client.get("/api/v1/audit")).json()["items"][:2]
    assert [entry["action"] for entry in entries] == ["user.erase.done", "user.erase"]
    assert entries[0]["detail"]["unreached"] == []
    assert entries[0]["target"] == entries[1]["target"]
    assert entries[0]["target"].startswith("erased:")
    assert USER not in json.dumps(entries)
    for nobody in ("%20", "a%00b"):
        refused = await any_gateway.client.delete(f"/api/v1/users/{nobody}/data")
        assert refused.status_code == 400


async def test_what_was_built_from_it_and_what_was_exported_go_too(working: Gateway) -> None:
    client = working.client
    assert (await upload(working, "source.jsonl", rows("eve"))).status_code == 201
    asked = await client.post(f"{DATASETS}/build", json={"name": "built", "sources": ["source"]})
    assert asked.status_code == 202, asked.text

    async def built() -> bool:
        return bool((await client.get(f"{DATASETS}/built")).json()["state"] == "ready")

    await until(built, 120)
    params = {"part": "train", "format": "trl"}
    assert SECRET in (await client.get(f"{DATASETS}/built/download", params=params)).text
    data = working.settings.data
    lineage = {"digest": "sha256:" + "ab" * 32, "parent": None, "created_at": "2026-01-01"}
    lineage["dataset_digest"] = (await client.get(f"{DATASETS}/built")).json()["digest"]
    place = Registry(data).folder / "tone" / ("ab" * 6)
    place.mkdir(parents=True)
    (place / "lineage.json").write_text(json.dumps(lineage))
    (place / PAIRS).write_text(json.dumps({"user": "eve", "session": "s"}) + "\n")
    done = await erased(working, "/api/v1/users/eve/data")
    withdrawn = {one["kind"]: one for one in done["datasets"]["withdrawn"]}
    assert withdrawn.keys() == {"file", "preference"}
    assert withdrawn["preference"]["adapters"] == [f"tone@{'ab' * 6}"]
    assert [one["name"] for one in done["taught"]] == ["tone"]
    assert done["adapters"] == [f"tone@{'ab' * 6}"]
    assert done["unreached"] == []
    assert holding(data, SECRET) == []
    shown = (await client.get(f"{DATASETS}/built")).json()
    assert (shown["state"], shown["rows"], [one["name"] for one in shown["parents"]]) == (
        "withdrawn",
        40,
        ["source"],
    )
    again = await erased(working, "/api/v1/users/eve/data")
    assert ([one["name"] for one in again["taught"]], again["adapters"]) == (["tone"], [])
    known = (await client.get("/api/v1/users/eve/lineage")).json()
    assert [one["name"] for one in known["taught"]] == ["tone"]


class Studio:
    """Label Studio's API as far as an erasure asks it; while `away`, it answers 503."""

    def __init__(self, title: str, tasks: list[dict[str, Any]]) -> None:
        self.title, self.tasks, self.away = title, dict(enumerate(tasks, 1)), True

    @asynccontextmanager
    async def served(self) -> AsyncIterator[str]:
        routes = [
            Route("/api/projects/", self.projects),
            Route("/api/tasks/", self.listed),
            Route("/api/tasks/{id:int}/", self.delete, methods=["DELETE"]),
        ]
        async with serving(Starlette(routes=routes)) as url:
            yield url

    async def projects(self, request: Request) -> Response:
        if self.away:
            return JSONResponse({"detail": "It is being updated."}, 503)
        assert request.headers["authorization"] == "Token a-token"
        found = [
            {"id": 1, "title": "another", "label_config": ""},
            {"id": 7, "title": self.title, "label_config": ""},
        ]
        return JSONResponse({"results": found, "next": None})

    async def listed(self, request: Request) -> Response:
        assert request.query_params["project"] == "7"
        found = [{"id": n, "data": task, "total_annotations": 0} for n, task in self.tasks.items()]
        return JSONResponse({"tasks": found, "total": len(found)})

    async def delete(self, request: Request) -> Response:
        del self.tasks[request.path_params["id"]]
        return Response(status_code=204)


async def test_what_label_studio_has_is_told_until_it_is_gone(tmp_path: Path) -> None:
    tasks = [a_task(n).model_copy(update={"user": user}) for n, user in enumerate((USER, "bo"))]
    record = Record(tmp_path / "annotation" / "demo")
    with record.alone():
        record.add_tasks(tasks)
    studio = Studio("demo", [shown(task) for task in tasks])
    (tmp_path / "admin-key").write_text(ADMIN_KEY)
    (tmp_path / "run").mkdir()

    async def erase(code: int) -> str:
        arguments = ["erase", USER, "--yes", "--data", str(tmp_path)]
        done = await asyncio.to_thread(CliRunner().invoke, app, arguments)
        assert done.exit_code == code, (done.output, done.exception)
        return str(done.output)

    async with studio.served() as url, neighbours(tmp_path, clerk) as (model, tools):
        chosen = settings(tmp_path, label_studio_url=url, label_studio_token="a-token")
        async with running(chosen, model, tools) as gateway:
            (tmp_path / "run" / "gateway.json").write_text(json.dumps({"url": gateway.url}))
            told = await erase(1)
            assert "Annotation: 1 tasks, 0 judgements, 0 rows, 0 tasks in Label Studio." in told
            assert "NOT REACHED: Label Studio's tasks of demo" in told
            assert "503: It is being updated. Then run the erasure again." in told
            assert [task.user for task in record.tasks()] == ["bo"]
            (left,) = (await erased(gateway))["unreached"]
            assert left["place"] == "annotation"
            studio.away = False
            told = await erase(0)
            assert "0 tasks, 0 judgements, 0 rows, 1 tasks in Label Studio." in told
            assert [task["task_id"] for task in studio.tasks.values()] == [tasks[1].task_id]
            assert "0 tasks in Label Studio" in await erase(0)


async def test_the_steps_of_an_answer_that_stopped_early_go_with_its_conversation(gateway: Gateway) -> None:
    conversations = "/api/v1/projects/demo/conversations"

    async def stopped() -> str:
        asked = {"agent": "general", "message": f"Be slow, {SECRET}"}
        async with gateway.client.stream("POST", "/api/v1/projects/demo/chat", json=asked) as stream:
            async for name, _ in events(stream):
                if name == "token":
                    break
        (item,) = (await gateway.client.get(conversations)).json()["items"]
        found = f"{conversations}/{item['id']}"

        async def ended() -> bool:
            return bool((await gateway.client.get(found)).json()["messages"][-1]["state"] == "cancelled")

        await until(ended)
        return found

    found, steps = await stopped(), gateway.settings.folder / "checkpoints.db"
    assert str(steps) in {file.removesuffix("-wal") for file in holding(steps.parent, SECRET)}
    assert (await gateway.client.delete(found)).status_code == 204
    assert [file for file in holding(steps.parent, SECRET) if "checkpoints" in file] == []
    found = await stopped()
    services = gateway.app.state.services
    assert await services.conversations.erase_orphans() == 0, "it may be tried again"
    async with services.database.write() as session:  # as after a kill between the record and the steps
        await session.execute(delete(Conversation).where(Conversation.id == found.rsplit("/", 1)[-1]))
    assert await services.conversations.erase_orphans() == 1, "which every start does"
    await services.database.empty_log()
    assert holding(steps.parent, SECRET) == []
    await stopped()
    me = (await gateway.client.get("/api/v1/me")).json()["id"]
    assert (await erased(gateway, f"/api/v1/users/{me}/data"))["conversations"] == 1
    assert holding(gateway.settings.data, SECRET) == []
