"""A user is forgotten by one request or one command, which says who learnt from them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import typer
from typer.testing import CliRunner

from gateway.cli_errors import CommandError
from gateway.cli_traces import app, begin_of
from rlhf.registry import ALIASES, LINEAGE, PAIRS, Registry
from tests.gateway.conftest import clerk
from tests.gateway.service import ADMIN_KEY, Gateway, neighbours, running, settings, until
from tests.gateway.traces.conftest import TraceStore

DIGEST = "sha256:" + "ab" * 32


@pytest_asyncio.fixture
async def traced(store: TraceStore) -> AsyncIterator[Gateway]:
    chosen = settings(store.data, traces_url=store.url)
    async with neighbours(store.data, clerk) as (model, tools), running(chosen, model, tools) as gateway:
        yield gateway


def learnt(data: Path, user: str) -> None:
    """A version in the registry that saw a pair of this user, and an heir that did not."""
    folder = Registry(data).folder / "tone"
    for digest, parent, users in ((DIGEST, None, [user]), ("sha256:" + "cd" * 32, DIGEST, ["other"])):
        place = folder / digest[7:19]
        place.mkdir(parents=True)
        lineage = {"digest": digest, "parent": parent, "created_at": "2026-01-01"}
        (place / LINEAGE).write_text(json.dumps(lineage))
        (place / PAIRS).write_text("".join(json.dumps({"user": name}) + "\n" for name in users))
    (folder / ALIASES).write_text(json.dumps({"live": DIGEST}))


async def said(gateway: Gateway, store: TraceStore) -> tuple[str, dict[str, Any]]:
    """The user's id, after a chat whose trace and feedback have arrived."""
    start = (await gateway.chat("Hello"))[0][1]
    body = {"message_id": start["message_id"], "thumb": "up"}
    assert (await gateway.client.post("/api/v1/feedback", json=body)).status_code == 200

    async def arrived() -> list[dict[str, Any]]:
        params = {"traceId": start["trace_id"]}
        scores = (await store.client.get("/api/public/v3/scores", params=params)).json()["data"]
        return (await store.observations(traceId=start["trace_id"])) if scores else []

    (first, *_) = await until(arrived, 60)
    return first["userId"], start


async def test_a_user_is_forgotten_everywhere(traced: Gateway, store: TraceStore) -> None:
    user, start = await said(traced, store)
    learnt(store.data, user)
    known = (await traced.client.get(f"/api/v1/users/{user}/lineage")).json()
    versions = [("tone", "ab" * 6, ["live"]), ("tone", "cd" * 6, [])]
    assert [(v["name"], v["version"], v["aliases"]) for v in known["taught"]] == versions
    assert known["answered_by"] == []
    answer = await traced.client.delete(f"/api/v1/users/{user}/data")
    assert answer.status_code == 200, answer.text
    told = answer.json()
    assert (told["conversations"], told["feedback"]) == (1, 1)
    assert (told["traces"]["traces"], told["traces"]["scores"]) == (1, 1)
    assert [v["name"] for v in told["taught"]] == ["tone", "tone"]
    assert await store.observations() == []
    assert (await store.client.get("/api/public/v3/scores")).json()["data"] == []
    path = f"/api/v1/projects/demo/conversations/{start['conversation_id']}"
    assert (await traced.client.get(path)).status_code == 404
    assert (await traced.client.get("/api/v1/me")).status_code == 200  # the account stays
    assert told["adapters"] == [f"tone@{'ab' * 6}"]
    assert [v["name"] for v in (await traced.client.get(f"/api/v1/users/{user}/lineage")).json()["taught"]]


async def test_a_task_of_somebody_else_with_an_answer_to_the_user_goes_too(
    traced: Gateway, store: TraceStore
) -> None:
    user, start = await said(traced, store)
    trace = {"trace_id": start["trace_id"], "generation_id": "g", "model": "m"}
    answers = {name: [{"role": "assistant", "content": name}] for name in ("chosen", "rejected")}
    row = {"prompt": [{"role": "user", "content": "Hello"}], **answers, "chosen_trace": trace, "user": "bo"}
    lines = "".join(
        json.dumps(one) + "\n" for one in (row, {**row, "chosen_trace": None, "pair_id": "other"})
    )
    files = {"file": ("pairs.jsonl", lines.encode())}
    sent = await traced.client.post("/api/v1/annotation/demo/tasks", files=files)
    assert sent.json()["added"] == 2, sent.text
    told = (await traced.client.delete(f"/api/v1/users/{user}/data")).json()
    assert told["annotation"]["tasks"] == 1


async def test_traces_in_a_langfuse_server_are_told(store: TraceStore) -> None:
    where = {"langfuse_host": store.url, "langfuse_public_key": store.key.public}
    chosen = settings(store.data, **where, langfuse_secret_key=store.key.secret)
    async with neighbours(store.data, clerk) as (model, tools), running(chosen, model, tools) as gateway:
        user, _ = await said(gateway, store)
        told = (await gateway.client.delete(f"/api/v1/users/{user}/data")).json()
        (left,) = told["unreached"]
        assert (left["place"], left["what"]) == ("traces", f"traces in {store.url}")
        assert "Delete the user's traces there" in left["remedy"]
        await store.client.delete("/api/public/users", params={"userId": user})
        assert (await gateway.client.delete(f"/api/v1/users/{user}/data")).json()["unreached"] == []


async def test_only_an_admin_forgets(traced: Gateway, store: TraceStore) -> None:
    user, _ = await said(traced, store)
    path = f"/api/v1/users/{user}"
    for body in ({"scopes": ["chat", "manage"]}, {"scopes": ["admin"], "project": "demo"}):
        key = traced.key(await traced.new_key(**body))
        assert (await traced.client.delete(f"{path}/data", headers=key)).status_code == 403
        assert (await traced.client.get(f"{path}/lineage", headers=key)).status_code == 403
    assert await store.observations() != []


async def test_nothing_is_forgotten_by_half_while_the_store_is_away(tmp_path: Path) -> None:
    chosen = settings(tmp_path, traces_url="http://127.0.0.1:9")
    (tmp_path / "langfuse-keys.json").write_text(
        json.dumps({"keys": [{"public_key": "p", "secret_key": "s", "project": {"id": "1", "name": "n"}}]})
    )
    async with neighbours(tmp_path, clerk) as (model, tools), running(chosen, model, tools) as gateway:
        answer = await gateway.client.delete("/api/v1/users/somebody/data")
        assert answer.status_code == 502
        assert answer.json()["error"]["code"] == "upstream_failed"


async def test_the_commands(traced: Gateway, store: TraceStore, tmp_path: Path) -> None:
    user, start = await said(traced, store)
    learnt(store.data, user)
    (store.data / "admin-key").write_text(ADMIN_KEY)
    (store.data / "run").mkdir(exist_ok=True)
    (store.data / "run" / "gateway.json").write_text(json.dumps({"url": traced.url}))
    out = tmp_path / "traces.jsonl"

    async def run(*arguments: str) -> str:
        def call() -> str:
            done = CliRunner().invoke(app, [*arguments, "--data", str(store.data)])
            assert done.exit_code == 0, (done.output, done.exception)
            return done.output

        return await asyncio.to_thread(call)

    assert "1 traces" in await run("export", "--out", str(out), "--since", "1d")
    (line,) = map(json.loads, out.read_text().splitlines())
    assert line["id"] == start["trace_id"]
    assert [score["name"] for score in line["scores"]] == ["thumbs"]
    assert json.loads(await run("export", "--out", "-"))["id"] == start["trace_id"]
    assert "learnt from: tone abababababab (live)" in await run("lineage", user)
    told = await run("erase", user, "--yes")
    assert "1 conversations, 1 feedbacks, 1 traces and 1 scores" in told
    assert "0 traces" in await run("export", "--out", str(out))
    assert out.read_text() == ""


def test_erasing_asks_first(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["erase", "ada", "--data", str(tmp_path)], input="n\n")
    assert done.exit_code == 1
    assert isinstance(done.exception, SystemExit | typer.Abort)


def test_times() -> None:
    from datetime import UTC, datetime

    now = datetime(2026, 11, 21, tzinfo=UTC)
    assert begin_of("7d", now) == "2026-11-14T00:00:00+00:00"
    assert begin_of("12h", now) == "2026-11-20T12:00:00+00:00"
    assert begin_of("2026-11-01", now) == "2026-11-01T00:00:00"
    for text in ("yesterday", "7", "d", "7w"):
        with pytest.raises(CommandError, match="no time"):
            begin_of(text, now)
