"""The trace store by plain HTTP: what is written, what is refused, what is found again."""

from __future__ import annotations

import asyncio
import gzip
import json
import sqlite3
import stat
from pathlib import Path
from typing import Any

import httpx2
import pytest

from gateway.cli_errors import CommandError
from gateway.lock import only_one
from gateway.traces.database import NewerStore, TraceDatabase
from gateway.traces.schema import TABLES
from tests.gateway.traces.conftest import EXPORT, PROTOBUF, TraceStore, batch, trace_store

TRACE = "ab" * 16


def span(n: int = 1, **given: Any) -> dict[str, Any]:
    return {"trace": TRACE, "id": f"{n:016x}", **given}


async def test_what_was_acknowledged_is_read_at_once(store: TraceStore) -> None:
    for n in range(1, 30):
        assert (await store.export(span(n))).status_code == 200
        assert len(await store.observations(traceId=TRACE)) == n


async def test_what_was_acknowledged_survives_the_process(tmp_path: Path) -> None:
    async with trace_store(tmp_path) as first:
        await first.export(span(name="kept"))
        # As a second process would see it, while the first one still runs.
        with sqlite3.connect(f"file:{tmp_path / 'traces' / 'traces.sqlite'}?mode=ro", uri=True) as file:
            assert file.execute("SELECT name FROM observations").fetchall() == [("kept",)]
        file.close()
    async with trace_store(tmp_path) as second:
        assert (second.key.public, second.key.project_id) == (first.key.public, first.key.project_id)
        assert [o["name"] for o in await second.observations()] == ["kept"]


async def test_the_key_file_is_for_its_owner_only(store: TraceStore) -> None:
    modes = {
        name: stat.S_IMODE((store.data / name).stat().st_mode) for name in ("langfuse-keys.json", "traces")
    }
    assert modes == {"langfuse-keys.json": 0o600, "traces": 0o700}


@pytest.mark.parametrize(
    "header",
    ["", "Basic", "Basic !!!", "Basic cGs6c2s=", "Bearer pk-lf-1", "Basic " + "A" * 5000],
)
async def test_without_a_key_pair_nothing_is_told(store: TraceStore, header: str) -> None:
    async with httpx2.AsyncClient(base_url=store.url, trust_env=False) as client:
        for path in ("projects", "v2/observations", "nothing"):
            answer = await client.get(f"/api/public/{path}", headers={"authorization": header})
            assert answer.status_code == 401
            assert set(answer.json()) == {"message", "error"}
        assert (await client.post(EXPORT, headers={"authorization": header})).status_code == 401
        assert (await client.get("/api/public/health")).json()["status"] == "OK"


async def test_key_pairs_open_their_own_project_only(tmp_path: Path) -> None:
    async with trace_store(tmp_path) as store:
        await store.export(span())
    file = tmp_path / "langfuse-keys.json"
    keys = json.loads(file.read_text())["keys"]
    other = {"public_key": "pk-2", "secret_key": "sk-2", "project": {"id": "p2", "name": "two"}}
    file.write_text(json.dumps({"keys": [other]}))
    async with trace_store(tmp_path) as store:
        assert await store.observations() == []
        assert (await store.client.get("/api/public/projects")).json()["data"][0]["name"] == "two"
    file.write_text(json.dumps({"keys": keys}))
    async with trace_store(tmp_path) as store:
        assert len(await store.observations()) == 1


async def test_gzip_and_json_say_the_same_as_protobuf(store: TraceStore) -> None:
    packed = gzip.compress(batch(span(1, name="gzip")).SerializeToString())
    answer = await store.client.post(EXPORT, content=packed, headers={**PROTOBUF, "content-encoding": "gzip"})
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/x-protobuf"
    attribute = {"key": "user.id", "value": {"stringValue": "ada"}}
    entry: dict[str, Any] = {"traceId": TRACE, "spanId": "00" * 7 + "02", "name": "json"}
    entry |= {"attributes": [attribute]}
    entry |= {"startTimeUnixNano": "1790000001000000000", "kind": 1, "unknown": 1}
    body = {"resourceSpans": [{"scopeSpans": [{"spans": [entry]}]}]}
    assert (await store.client.post(EXPORT, json=body)).status_code == 200
    assert [(o["name"], o["userId"]) for o in await store.observations()] == [("json", "ada"), ("gzip", None)]


async def test_a_gzip_bomb_is_refused(tmp_path: Path) -> None:
    async with trace_store(tmp_path, body_megabytes=1) as store:
        headers = {**PROTOBUF, "content-encoding": "gzip"}
        bomb = gzip.compress(b"\0" * (64 << 20))
        assert len(bomb) < 1 << 20
        assert (await store.client.post(EXPORT, content=bomb, headers=headers)).status_code == 413
        plain = b"\0" * ((1 << 20) + 1)
        assert (await store.client.post(EXPORT, content=plain, headers=PROTOBUF)).status_code == 413


@pytest.mark.parametrize(
    ("content", "headers"),
    [
        (b"\xff\xff nonsense", PROTOBUF),
        (b"{", {"content-type": "application/json"}),
        (b'{"resourceSpans": 3}', {"content-type": "application/json"}),
        (b"[" * 100_000, {"content-type": "application/json"}),
        (b"not gzip", {**PROTOBUF, "content-encoding": "gzip"}),
        (gzip.compress(b"x")[:-4], {**PROTOBUF, "content-encoding": "gzip"}),
        (b"x", {**PROTOBUF, "content-encoding": "br"}),
        (batch({"trace": "", "id": "01" * 8}).SerializeToString(), PROTOBUF),
        (batch(span(), {"trace": TRACE, "id": ""}).SerializeToString(), PROTOBUF),
    ],
    ids=[
        *("no protobuf", "half a JSON", "spans that are a number", "deep JSON", "no gzip", "half a gzip"),
        *("another encoding", "a span without trace", "a span without id"),
    ],
)
async def test_what_cannot_be_read_is_refused_for_good(
    store: TraceStore, content: bytes, headers: dict[str, str]
) -> None:
    answer = await store.client.post(EXPORT, content=content, headers=headers)
    assert answer.status_code == 400
    assert answer.json()["message"]
    assert await store.observations() == []


async def test_a_batch_that_is_sent_again_changes_nothing(store: TraceStore) -> None:
    for _ in range(3):
        await store.export(span(1, name="a"), span(2, name="b", parent="0000000000000001"))
    assert sorted(o["name"] for o in await store.observations(traceId=TRACE)) == ["a", "b"]


async def test_spans_that_the_sdk_made_for_another_key_are_left_out(store: TraceStore) -> None:
    request = batch(span(1))
    scope = request.resource_spans[0].scope_spans[0].scope
    scope.name = "langfuse-sdk"
    pair = scope.attributes.add(key="public_key")
    for public_key, found in (("pk-lf-other", 0), (store.key.public, 1)):
        pair.value.string_value = public_key
        await store.client.post(EXPORT, content=request.SerializeToString(), headers=PROTOBUF)
        assert len(await store.observations()) == found


async def test_lineage_by_the_name_of_the_model_and_by_metadata(store: TraceStore) -> None:
    exact = {"langfuse.observation.model.name": "base:tone@sha256:1a2b3c4d5e6f"}
    said = {"langfuse.observation.metadata.adapter_version": '"tone@sha256:ffff"', "user.id": "ada"}
    await store.export(span(1, name="exact", attributes=exact), span(2, name="said", attributes=said))
    by_adapter = await store.observations(adapterVersion="tone@sha256:1a2b3c4d5e6f")
    assert [o["name"] for o in by_adapter] == ["exact"]
    condition = {"type": "stringObject", "column": "metadata", "key": "adapter_version", "operator": "="}
    asked = json.dumps([{**condition, "value": "tone@sha256:ffff"}])
    assert [o["name"] for o in await store.observations(filter=asked)] == ["said"]
    assert [o["name"] for o in await store.observations(userId="ada")] == ["said"]


async def test_fields_come_in_the_groups_that_are_asked_for(store: TraceStore) -> None:
    long = "x" * 300
    attributes = {
        "langfuse.observation.input": '{"q": 1}',
        "langfuse.observation.metadata.long": long,
        "langfuse.observation.usage_details": '{"input": 3}',
        "langfuse.trace.tags": ["b", "a"],
    }
    await store.export(span(attributes=attributes))
    (plain,) = await store.observations()
    assert {"name", "level"} <= set(plain)
    assert not {"input", "metadata", "usageDetails"} & set(plain)
    (full,) = await store.observations(fields="io,metadata,usage,trace_context")
    assert (full["input"], full["usageDetails"], full["tags"]) == ('{"q": 1}', {"input": 3}, ["a", "b"])
    assert full["metadata"]["long"] == long[:200]
    (whole,) = await store.observations(fields="metadata", expandMetadata="long")
    assert whole["metadata"]["long"] == long


@pytest.mark.parametrize(
    "params",
    [
        {"limit": "0"},
        {"limit": "1001"},
        {"limit": "x"},
        {"cursor": "nonsense"},
        {"fields": "nothing"},
        {"fromStartTime": "yesterday"},
        {"filter": "{"},
        {"filter": "{}"},
        {"filter": '[{"type":"string","column":"metadata","key":"other","operator":"=","value":"x"}]'},
        {"filter": '[{"type":"string","column":"name; DROP TABLE x","operator":"=","value":"x"}]'},
        {"filter": '[{"type":"string","column":"name","operator":"OR 1=1","value":"x"}]'},
        {"parseIoAsJson": "true"},
    ],
)
async def test_a_question_that_cannot_be_answered_is_refused(
    store: TraceStore, params: dict[str, str]
) -> None:
    answer = await store.client.get("/api/public/v2/observations", params=params)
    assert answer.status_code == 400
    assert answer.json()["error"]


async def test_a_time_between(store: TraceStore) -> None:
    await store.export(*(span(n, name=str(n), start=1_790_000_000 + n) for n in range(1, 5)))
    asked = {"fromStartTime": "2026-09-21T14:13:22Z", "toStartTime": "2026-09-21T16:13:24+02:00"}
    assert [o["name"] for o in await store.observations(**asked)] == ["3", "2"]


async def test_of_a_list_of_scores_the_good_ones_are_kept(store: TraceStore) -> None:
    good = {"name": "thumbs", "value": 1, "dataType": "BOOLEAN", "traceId": TRACE}
    bad: list[Any] = [{"name": "x"}, {**good, "value": 3}, {**good, "traceId": None}, "text"]
    answer = await store.client.post("/api/public/scores", json=[good, *bad])
    assert answer.status_code == 207
    assert (answer.json()["accepted"], answer.json()["rejected"]) == (1, 4)
    found = (await store.client.get("/api/public/v3/scores", params={"traceId": TRACE})).json()["data"]
    assert [score["value"] for score in found] == [True]


async def test_one_score_is_given_its_id_and_deleted_by_it(store: TraceStore) -> None:
    entry = {"name": "stars", "value": 4, "sessionId": "s"}
    score_id = (await store.client.post("/api/public/scores", json=entry)).json()["id"]
    assert (await store.client.delete(f"/api/public/scores/{score_id}")).status_code == 202
    assert (await store.client.delete(f"/api/public/scores/{score_id}")).status_code == 404


async def test_half_a_surrogate_pair_is_the_clients_error(store: TraceStore) -> None:
    body = b'{"name": "\\ud800", "value": 1, "sessionId": "s"}'
    answer = await store.client.post("/api/public/scores", content=body)
    assert answer.status_code == 400


async def test_many_writers_at_the_same_time(store: TraceStore) -> None:
    answers = await asyncio.gather(*(store.export(span(n)) for n in range(1, 41)))
    assert {answer.status_code for answer in answers} == {200}
    assert len(await store.observations(limit=1000)) == 40


async def test_a_write_that_fails_undoes_itself_only(tmp_path: Path) -> None:
    database = TraceDatabase(tmp_path / "t.sqlite")
    try:

        def good(connection: sqlite3.Connection) -> None:
            connection.execute("INSERT INTO projects (key) VALUES ('good')")

        def bad(connection: sqlite3.Connection) -> None:
            connection.execute("INSERT INTO projects (key) VALUES ('bad')")
            raise ValueError("changed my mind")

        results = await asyncio.gather(
            *(database.write(work) for work in (good, bad)), return_exceptions=True
        )
        assert isinstance(results[1], ValueError)
        query = "SELECT key FROM projects"
        assert await database.read(lambda c: [row["key"] for row in c.execute(query)]) == ["good"]
    finally:
        database.close()


def test_a_file_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.sqlite"
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(NewerStore, match="version 99"):
        TraceDatabase(path)


async def test_a_second_opener_is_refused(store: TraceStore) -> None:
    lock = store.data / "traces" / "traces.lock"
    with pytest.raises(CommandError, match="already run by process"), only_one(lock, "The trace store"):
        pass


async def test_a_file_of_the_first_version_is_brought_up_to_date(tmp_path: Path) -> None:
    async with trace_store(tmp_path) as store:
        project = (await store.client.get("/api/public/projects")).json()["data"][0]["id"]
    path = tmp_path / "traces" / "traces.sqlite"
    path.unlink()
    with sqlite3.connect(path) as file:
        file.executescript((Path(__file__).parent / "version_1.sql").read_text())
        file.execute("INSERT INTO projects (key) VALUES (?)", (project,))
        row = "INSERT INTO traces (project, id, name, started, session, environment, created, updated)"
        file.execute(f"{row} VALUES (1, ?, 'old', 5, 's', 'default', 1, 1)", (TRACE,))
    file.close()
    async with trace_store(tmp_path) as store:
        assert (await store.client.get(f"/api/public/traces/{TRACE}")).json()["name"] == "old"
        sessions = (await store.client.get("/api/public/sessions")).json()["data"]
        assert [session["id"] for session in sessions] == ["s"]
    with sqlite3.connect(path) as file:
        assert file.execute("PRAGMA auto_vacuum").fetchone() == (2,)
        indexes = set(file.execute("SELECT name FROM sqlite_schema WHERE type = 'index'"))
    file.close()
    with sqlite3.connect(tmp_path / "new.sqlite") as fresh:
        fresh.executescript(TABLES)
        assert indexes == set(fresh.execute("SELECT name FROM sqlite_schema WHERE type = 'index'"))
    fresh.close()
