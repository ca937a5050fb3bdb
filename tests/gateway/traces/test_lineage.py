"""From an adapter to its traces, from a user to the adapters, and traces as lines in a file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from gateway.traces import export, lineage
from tests.gateway.traces.conftest import TraceStore

EARLY, LATE = "tone@sha256:00000000000a", "tone@sha256:00000000000b"


def span(n: int, adapter: str | None, user: str = "ada") -> dict[str, Any]:
    attributes = {"user.id": user, "langfuse.observation.output": '{"a": "é"}'}
    if adapter:
        attributes["langfuse.observation.model.name"] = f"base:{adapter}"
    start = 1_790_000_000 + n
    return {"trace": f"{n:032x}", "id": f"{n:016x}", "start": start, "attributes": attributes}


async def get(store: TraceStore, **params: Any) -> Any:
    answer = await store.client.get("/api/public/lineage", params=params)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_the_adapters_of_a_user(store: TraceStore) -> None:
    await store.export(span(1, EARLY), span(2, EARLY), span(3, LATE), span(4, None), span(5, LATE, "bo"))
    found = (await get(store, userId="ada"))["data"]
    assert [(entry["adapterVersion"], entry["observations"]) for entry in found] == [(EARLY, 2), (LATE, 1)]
    assert found[0]["first"] == "2026-09-21T14:13:21.000000Z"
    assert found[0]["last"] == "2026-09-21T14:13:22.000000Z"
    assert (await get(store, userId="' OR user IS NOT NULL --"))["data"] == []


async def test_the_traces_of_an_adapter_in_pages(store: TraceStore) -> None:
    both = span(3, LATE)
    both["id"] = "ff" * 8  # a second answer in the same trace
    await store.export(*(span(n, EARLY) for n in (1, 2, 3)), both)
    page = await get(store, adapterVersion=EARLY, limit=2)
    assert [entry["traceId"] for entry in page["data"]] == [f"{n:032x}" for n in (3, 2)]
    rest = await get(store, adapterVersion=EARLY, limit=2, cursor=page["meta"]["cursor"])
    assert [entry["traceId"] for entry in rest["data"]] == [f"{1:032x}"]
    assert rest["meta"]["cursor"] is None
    assert [entry["traceId"] for entry in (await get(store, adapterVersion=LATE))["data"]] == [f"{3:032x}"]


@pytest.mark.parametrize("params", [{}, {"userId": "a", "adapterVersion": "b"}, {"userId": ""}])
async def test_a_question_about_nothing_is_refused(store: TraceStore, params: dict[str, str]) -> None:
    assert (await store.client.get("/api/public/lineage", params=params)).status_code == 400


async def test_lineage_is_read_from_indexes_alone(store: TraceStore) -> None:
    await store.export(span(1, EARLY))

    def plan(query: str) -> str:
        import sqlite3

        file = sqlite3.connect(Path(store.data) / "traces" / "traces.sqlite")
        try:
            return " | ".join(row[3] for row in file.execute(f"EXPLAIN QUERY PLAN {query}", (1, "x")))
        finally:
            file.close()

    told = plan(lineage._OF_USER)
    assert "USING COVERING INDEX observations_of_user_by_adapter" in told
    assert "TEMP B-TREE" not in told


async def test_every_trace_is_a_line(store: TraceStore) -> None:
    count = 2 * export.PAGE + 3
    await store.export(*(span(n, EARLY) for n in range(1, count + 1)))
    await store.client.post("/api/public/scores", json={"name": "n", "value": 1, "traceId": f"{7:032x}"})
    async with store.client.stream("GET", "/api/public/export") as answer:
        assert answer.headers["content-type"].startswith("application/x-ndjson")
        lines = [json.loads(line) async for line in answer.aiter_lines()]
    assert [line["id"] for line in lines] == [f"{n:032x}" for n in range(1, count + 1)]
    assert lines[0]["observations"][0]["output"] == {"a": "é"}
    assert [len(line["scores"]) for line in lines[:8]] == [0] * 6 + [1, 0]


async def test_an_export_of_a_time(store: TraceStore) -> None:
    await store.export(*(span(n, EARLY) for n in range(1, 6)))
    asked = {"fromTimestamp": "2026-09-21T14:13:22Z", "toTimestamp": "2026-09-21T14:13:24Z"}
    answer = await store.client.get("/api/public/export", params=asked)
    assert [json.loads(line)["id"] for line in answer.text.splitlines()] == [f"{n:032x}" for n in (2, 3)]
    answer = await store.client.get("/api/public/export", params={"fromTimestamp": "yesterday"})
    assert answer.status_code == 400
    assert (await store.client.get("/api/public/export", params={"fromTimestamp": "2099-01-01"})).text == ""
