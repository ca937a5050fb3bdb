"""Who means harm: other projects' keys, bodies that are too much, questions that are meant for SQL."""

from __future__ import annotations

import gzip
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
import pytest_asyncio

from gateway.traces.endpoints import API, ROUTES
from tests.gateway.traces.conftest import EXPORT, PROTOBUF, TraceStore, batch, trace_store

TRACE = "ab" * 16
NASTY = ("' OR '1'='1", "x'; DROP TABLE observations; --", '" OR 1=1 --', "%", "_", "\\", "\x00", "*", "?1")


def span(**attributes: Any) -> dict[str, Any]:
    said = {"user.id": "ada", "session.id": "s", "langfuse.observation.model.name": "b:a@sha256:0123456789ab"}
    return {"trace": TRACE, "id": "01" * 8, "attributes": {**said, **attributes}}


@pytest_asyncio.fixture
async def shared(tmp_path: Path) -> AsyncIterator[tuple[TraceStore, httpx2.AsyncClient]]:
    """A store with something of the first project in it, and a client with the keys of a second one."""
    async with trace_store(tmp_path):
        file = tmp_path / "langfuse-keys.json"
    keys = json.loads(file.read_text())["keys"]
    other = {"public_key": "pk-2", "secret_key": "sk-2", "project": {"id": "p2", "name": "two"}}
    file.write_text(json.dumps({"keys": keys}))
    async with trace_store(tmp_path) as first:
        await first.export(span())
        post = first.client.post
        await post(f"{API}/scores", json={"id": "sc", "name": "n", "value": 1, "traceId": TRACE})
        await post(f"{API}/v2/datasets", json={"name": "d"})
        item = {"datasetName": "d", "id": "i", "input": 1, "sourceTraceId": TRACE}
        await post(f"{API}/dataset-items", json=item)
        await post(f"{API}/v2/prompts", json={"name": "p", "prompt": "x", "labels": ["production"]})
    file.write_text(json.dumps({"keys": [other]}))
    async with trace_store(tmp_path) as second:
        yield second, second.client


async def test_keys_of_another_project_see_and_change_nothing(
    shared: tuple[TraceStore, httpx2.AsyncClient], tmp_path: Path
) -> None:
    store, client = shared
    lists = ["v2/observations", "traces", "sessions", "v3/scores", "v2/scores", "v2/datasets"]
    lists += ["dataset-items", "v2/prompts", "lineage?userId=ada"]
    lists += ["lineage?adapterVersion=a@sha256:0123456789ab"]
    for path in lists:
        answer = await client.get(f"{API}/{path}")
        assert answer.status_code == 200, path
        assert answer.json()["data"] == [], path
    assert (await client.get(f"{API}/export")).text == ""
    for path in (f"traces/{TRACE}", "sessions/s", "v2/scores/sc", "v2/datasets/d", "dataset-items/i"):
        assert (await client.get(f"{API}/{path}")).status_code == 404, path
    for path in ("scores/sc", "dataset-items/i", "v2/prompts/p"):
        assert (await client.delete(f"{API}/{path}")).status_code == 404, path
    assert (await client.delete(f"{API}/traces/{TRACE}")).status_code == 200
    erased = (await client.delete(f"{API}/users", params={"userId": "ada"})).json()
    assert set(erased["removed"].values()) == {0}
    # The same ids, written by the second project, are things of its own.
    await store.export(span(**{"user.id": "eve"}))
    await client.post(f"{API}/scores", json={"id": "sc", "name": "n", "value": 0, "traceId": TRACE})
    assert len(await store.observations()) == 1


async def test_the_first_project_has_kept_everything(
    shared: tuple[TraceStore, httpx2.AsyncClient], tmp_path: Path
) -> None:
    import sqlite3

    store, client = shared
    await store.export(span(**{"user.id": "eve"}))
    await client.delete(f"{API}/users", params={"userId": "ada"})
    file = sqlite3.connect(tmp_path / "traces" / "traces.sqlite")
    try:
        found = file.execute("SELECT project, user FROM observations ORDER BY project").fetchall()
        assert found == [(1, "ada"), (2, "eve")]
        for table in ("scores", "dataset_items", "prompts", "sessions"):
            assert file.execute(f"SELECT count(*) FROM {table} WHERE project = 1").fetchone() == (1,)
    finally:
        file.close()


async def test_every_route_asks_for_both_keys(store: TraceStore) -> None:
    wrong = [
        ("", ""),
        (store.key.public, ""),
        (store.key.public, "sk-lf-wrong"),
        ("pk-lf-x", store.key.secret),
    ]
    for public, secret in wrong:
        auth = httpx2.BasicAuth(public, secret)
        async with httpx2.AsyncClient(base_url=store.url, auth=auth, trust_env=False, timeout=60) as client:
            for route in ROUTES:
                if route.path.endswith("health"):
                    continue
                path = route.path.replace("{version:int}", "1")
                for part in ("{name:path}", "{id:path}", "{run:path}", "{id}"):
                    path = path.replace(part, "x")
                for method in (route.methods or set()) - {"HEAD"}:
                    answer = await client.request(method, path)
                    assert answer.status_code == 401, (method, path)


@pytest.mark.parametrize("text", NASTY)
async def test_what_is_meant_for_sql_is_a_text_like_others(store: TraceStore, text: str) -> None:
    await store.export(span())
    names = ("name", "userId", "sessionId", "type", "traceId", "level", "version", "adapterVersion")
    for name in (*names, "promptHash", "parentObservationId", "environment"):
        found = await store.client.get(f"{API}/v2/observations", params={name: text})
        assert (found.status_code, found.json()["data"]) == (200, []), name
    for operator in ("=", "contains", "starts with", "ends with"):
        condition = {"type": "string", "column": "userId", "operator": operator, "value": text}
        asked = json.dumps([condition])
        found = await store.client.get(f"{API}/v2/observations", params={"filter": asked})
        refused = text == "\x00" and operator != "="
        expected: tuple[int, list[Any] | None] = (400, None) if refused else (200, [])
        assert (found.status_code, found.json().get("data")) == expected, operator
    for path in ("traces", "v3/scores", "v2/scores", "sessions", "lineage"):
        params = {"userId": text, "name": text, "sessionId": text, "tags": text}
        found = await store.client.get(f"{API}/{path}", params=params)
        assert (found.status_code, found.json()["data"] if path != "sessions" else []) == (200, []), path
    assert len(await store.observations()) == 1
    await store.export({**span(), "id": "02" * 8, "name": text.replace("\x00", "")})
    assert len(await store.observations(name=text.replace("\x00", "") or "span")) == 1


@pytest.mark.parametrize(
    "entry",
    [
        {"column": "user; DROP TABLE x", "operator": "=", "value": "a"},
        {"column": "userId", "operator": "= '' OR 1=1 --", "value": "a"},
        {"column": "metadata", "key": "adapter_version' OR 1=1", "operator": "=", "value": "a"},
        {"column": "userId", "operator": "=", "value": {"$ne": 1}},
        {"column": "userId", "operator": "any of", "value": ["a"] * 501},
        {"column": "userId", "operator": "any of", "value": "a"},
        {"column": "startTime", "operator": "=", "value": "1; --", "type": "datetime"},
    ],
)
async def test_a_filter_that_is_no_filter_is_refused(store: TraceStore, entry: dict[str, Any]) -> None:
    asked = json.dumps([{"type": "string", **entry}])
    answer = await store.client.get(f"{API}/v2/observations", params={"filter": asked})
    assert answer.status_code == 400, answer.text


async def test_deep_json_is_refused_everywhere(store: TraceStore) -> None:
    deep = "[" * 20_000 + "]" * 20_000
    answer = await store.client.get(f"{API}/v2/observations", params={"filter": "[" * 5_000})
    assert answer.status_code == 400
    for path in ("scores", "ingestion", "v2/datasets", "dataset-items", "v2/prompts", "media"):
        answer = await store.client.post(f"{API}/{path}", content=deep)
        assert answer.status_code == 400, path
    body = '{"resourceSpans": ' + deep + "}"
    headers = {"content-type": "application/json"}
    assert (await store.client.post(EXPORT, content=body, headers=headers)).status_code == 400
    # Deep inside a text it is nobody's business but the reader's.
    await store.export(span(**{"langfuse.observation.metadata.deep": deep}))
    (found,) = await store.observations(fields="metadata", expandMetadata="deep")
    assert found["metadata"]["deep"] == deep


async def test_bodies_over_the_limit_are_refused_however_they_come(tmp_path: Path) -> None:
    async with trace_store(tmp_path, body_megabytes=1) as store:
        bomb = gzip.compress(b"[" + b" " * (256 << 20) + b"]")
        assert len(bomb) < 1 << 20

        async def chunks() -> AsyncIterator[bytes]:
            for _ in range(40):
                yield b" " * (1 << 16)

        for path in ("scores", "ingestion", "dataset-items", "v2/prompts"):
            packed = await store.client.post(
                f"{API}/{path}", content=bomb, headers={"content-encoding": "gzip"}
            )
            assert packed.status_code == 413, path
            assert (await store.client.post(f"{API}/{path}", content=chunks())).status_code == 413, path
        twice = gzip.compress(gzip.compress(b"x")) + gzip.compress(b"y")
        headers = {**PROTOBUF, "content-encoding": "gzip"}
        assert (await store.client.post(EXPORT, content=twice, headers=headers)).status_code == 400
        assert (await store.export(span())).status_code == 200


async def test_a_name_of_a_megabyte_and_times_out_of_the_world(store: TraceStore) -> None:
    request = batch({**span(), "name": "n" * (1 << 20)})
    one = request.resource_spans[0].scope_spans[0].spans[0]
    one.start_time_unix_nano = one.end_time_unix_nano = 2**64 - 1
    answer = await store.client.post(EXPORT, content=request.SerializeToString(), headers=PROTOBUF)
    assert answer.status_code == 200
    (found,) = await store.observations()
    assert len(found["name"]) == 1 << 20
    assert found["startTime"].startswith("2554-")  # the last one that OpenTelemetry can write
