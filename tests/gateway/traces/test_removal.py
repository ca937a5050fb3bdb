"""What goes: old traces by themselves, a user's on request; with all that hangs on them, and no more."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from pathlib import Path
from typing import Any

from gateway.traces.database import TraceDatabase
from gateway.traces.observations import Observation
from gateway.traces.removal import TOGETHER
from gateway.traces.retention import sweep
from gateway.traces.writing import insert
from tests.gateway.service import until
from tests.gateway.traces.conftest import TraceStore, trace_store

SECRET = "the patient in room seven"
TABLES = ("observations", "bodies", "traces", "sessions", "scores", "dataset_items")


def trace(n: int) -> str:
    return f"{n:032x}"


def span(n: int, user: str = "ada", **given: Any) -> dict[str, Any]:
    attributes = {"user.id": user, "session.id": f"s-{user}", "langfuse.observation.input": SECRET}
    attributes |= {"langfuse.observation.model.name": f"base:tone@sha256:{n:012x}"}
    return {"trace": trace(n), "id": f"{n:016x}", "attributes": attributes, **given}


async def score(store: TraceStore, score_id: str, **about: Any) -> None:
    body = {"id": score_id, "name": "n", "value": 1, **about}
    assert (await store.client.post("/api/public/scores", json=body)).status_code == 200


async def ids(store: TraceStore, path: str) -> set[str]:
    found = await store.client.get(f"/api/public/{path}")
    assert found.status_code == 200, found.text
    return {entry["id"] for entry in found.json()["data"]}


def counts(data: Path) -> dict[str, int]:
    file = sqlite3.connect(data / "traces" / "traces.sqlite")
    try:
        return {name: file.execute(f"SELECT count(*) FROM {name}").fetchone()[0] for name in TABLES}
    finally:
        file.close()


async def test_a_user_is_forgotten_and_nobody_else(store: TraceStore) -> None:
    await store.export(span(1), span(2), span(3, "bo"))
    for n in (1, 3):
        await score(store, f"t{n}", traceId=trace(n))
    await score(store, "session", sessionId="s-ada")
    await score(store, "by-ada", traceId=trace(3), authorUserId="ada")
    await store.client.post("/api/public/v2/datasets", json={"name": "d"})
    for n in (1, 3):
        item = {"datasetName": "d", "id": f"i{n}", "input": SECRET, "sourceTraceId": trace(n)}
        assert (await store.client.post("/api/public/dataset-items", json=item)).status_code == 200
    answer = await store.client.delete("/api/public/users", params={"userId": "ada"})
    assert answer.status_code == 200, answer.text
    told = answer.json()
    assert told["removed"] == {"traces": 2, "observations": 2, "scores": 3, "items": 1}
    adapters = [entry["adapterVersion"] for entry in told["adapters"]]
    assert adapters == [f"tone@sha256:{n:012x}" for n in (1, 2)]
    assert await ids(store, "traces") == {trace(3)}
    assert await ids(store, "v3/scores") == {"t3"}
    assert await ids(store, "sessions") == {"s-bo"}
    assert await ids(store, "dataset-items") == {"i3"}
    assert {o["userId"] for o in await store.observations()} == {"bo"}
    again = await store.client.delete("/api/public/users", params={"userId": "ada"})
    assert set(again.json()["removed"].values()) == {0}


async def test_nothing_of_a_forgotten_user_is_left_on_the_disk(store: TraceStore) -> None:
    marks = [f"remember-me-{n}" for n in range(2 * TOGETHER + 1)]
    await store.export(*(span(n + 1, name=mark) for n, mark in enumerate(marks)))
    files = list((store.data / "traces").glob("traces.sqlite*"))
    assert any(b"remember-me-7" in file.read_bytes() for file in files)
    before = sum(file.stat().st_size for file in files)
    answer = await store.client.delete("/api/public/users", params={"userId": "ada"})
    assert answer.json()["removed"]["traces"] == len(marks)
    files = list((store.data / "traces").glob("traces.sqlite*"))
    assert sum(file.stat().st_size for file in files) < before / 2
    assert not any(b"remember-me" in file.read_bytes() for file in files)
    assert set(counts(store.data).values()) == {0}


async def test_a_trace_with_several_users_goes_with_each_of_them(store: TraceStore) -> None:
    both = span(1, "bo")
    both["id"] = "ff" * 8
    await store.export(span(1), span(2, "bo"))
    await store.export(both)  # the trace's user is now the later one
    answer = await store.client.delete("/api/public/users", params={"userId": "ada"})
    assert answer.json()["removed"]["observations"] == 2
    assert await ids(store, "traces") == {trace(2)}


async def test_a_user_must_be_named(store: TraceStore) -> None:
    await store.export(span(1))
    for params in ({}, {"userId": ""}):
        assert (await store.client.delete("/api/public/users", params=params)).status_code == 400
    for name in ("a%", "_da", "' OR 1=1 --", "ada\x00"):
        answer = await store.client.delete("/api/public/users", params={"userId": name})
        assert answer.json()["removed"]["traces"] == 0
    assert len(await store.observations()) == 1


async def test_traces_are_deleted_by_their_ids(store: TraceStore) -> None:
    await store.export(span(1), span(2), span(3))
    assert (await store.client.delete(f"/api/public/traces/{trace(1)}")).status_code == 200
    body = {"traceIds": [trace(2), "nothing"]}
    answer = await store.client.request("DELETE", "/api/public/traces", json=body)
    assert answer.status_code == 200
    assert await ids(store, "traces") == {trace(3)}
    answer = await store.client.request("DELETE", "/api/public/traces", json={"traceIds": [1]})
    assert answer.status_code == 400


async def test_old_traces_go_and_their_space_is_given_back(tmp_path: Path) -> None:
    day = 86_400
    async with trace_store(tmp_path) as store:
        old = [span(n, start=int(time.time()) - 3 * day) for n in range(1, 2 * TOGETHER + 10)]
        await store.export(*old, span(9999, "bo", start=int(time.time()) - day))
        await score(store, "old", traceId=trace(1))
        await score(store, "new", traceId=trace(9999))
        assert len(await ids(store, "traces?limit=1000")) == len(old) + 1
    size = (tmp_path / "traces" / "traces.sqlite").stat().st_size
    async with trace_store(tmp_path, keep_days=2) as store:

        async def swept() -> bool:
            return await ids(store, "traces?limit=1000") == {trace(9999)}

        await until(swept, 60)
        assert await ids(store, "v3/scores") == {"new"}

        async def shorter() -> bool:
            return (tmp_path / "traces" / "traces.sqlite").stat().st_size < size / 2

        await until(shorter, 60)
        assert counts(tmp_path)["bodies"] == 1


async def test_those_who_write_meanwhile_are_not_kept_waiting(tmp_path: Path) -> None:
    """Each removal is a write of its own: others come between, in the order in which they asked."""
    database = TraceDatabase(tmp_path / "t.sqlite")
    try:
        await database.write(lambda c: c.execute("INSERT INTO projects (key) VALUES ('p')").rowcount)
        old = [Observation(f"{n}", f"{n}", started=n) for n in range(1, 5 * TOGETHER)]
        await database.write(lambda c: insert(c, 1, old))
        sweeping = asyncio.create_task(sweep(database, before=10**9))
        left: list[int] = []
        while not sweeping.done():
            new = [Observation("o", f"new-{len(left)}", started=2 * 10**9)]

            def add(connection: sqlite3.Connection, new: list[Observation] = new) -> int:
                insert(connection, 1, new)
                query = "SELECT count(*) FROM traces WHERE started < 1000000000"
                return int(connection.execute(query).fetchone()[0])

            left.append(await database.write(add))
        removed = await sweeping
        assert removed.traces == len(old)
        assert any(0 < count < len(old) for count in left), left
        kept = await database.read(lambda c: c.execute("SELECT count(*) FROM traces").fetchone()[0])
        assert kept == len(left)
    finally:
        database.close()
