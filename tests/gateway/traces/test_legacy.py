"""What SDK 3 and 4 and older integrations ask: events, traces, sessions, runs, scores in the older shape."""

from __future__ import annotations

import json
from typing import Any

from tests.gateway.traces.conftest import TraceStore

TRACE = "ef" * 16


def span(n: int = 1, **given: Any) -> dict[str, Any]:
    return {"trace": TRACE, "id": f"{n:016x}", **given}


async def get(store: TraceStore, path: str, **params: Any) -> Any:
    answer = await store.client.get(f"/api/public/{path}", params=params)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def ingest(store: TraceStore, *events: tuple[str, Any]) -> dict[str, Any]:
    batch = [{"id": str(n), "type": kind, "body": body} for n, (kind, body) in enumerate(events)]
    answer = await store.client.post("/api/public/ingestion", json={"batch": batch})
    assert answer.status_code == 207
    found: dict[str, Any] = answer.json()
    return found


async def test_a_trace_with_its_observations_and_scores(store: TraceStore) -> None:
    root = {
        "langfuse.observation.input": '{"q": 1}',
        "langfuse.observation.output": "a",
        "session.id": "s1",
        "user.id": "ada",
        "langfuse.trace.metadata.k": '"v"',
    }
    await store.export(span(1, name="root", attributes=root), span(2, parent="0000000000000001"))
    await store.client.post("/api/public/scores", json={"name": "n", "value": 1, "traceId": TRACE})
    found = await get(store, f"traces/{TRACE}")
    assert (found["name"], found["input"], found["output"]) == ("root", {"q": 1}, "a")
    assert (found["sessionId"], found["userId"], found["metadata"]) == ("s1", "ada", {"k": "v"})
    assert [o["id"] for o in found["observations"]] == ["0000000000000001", "0000000000000002"]
    assert [s["value"] for s in found["scores"]] == [1.0]
    assert (await store.client.get("/api/public/traces/unknown")).status_code == 404


async def test_lists_of_traces_and_sessions(store: TraceStore) -> None:
    for n, (user, session) in enumerate([("ada", "s1"), ("bo", "s1"), ("ada", "s2")]):
        attributes = {"user.id": user, "session.id": session, "langfuse.trace.tags": [f"t{n}"]}
        one = {"trace": f"{n + 1:032x}", "id": "01" * 8, "start": 1_790_000_000 + n, "attributes": attributes}
        await store.export(one)
    page = await get(store, "traces", userId="ada")
    assert [t["id"] for t in page["data"]] == [f"{3:032x}", f"{1:032x}"]
    assert page["meta"] == {"page": 1, "limit": 50, "totalItems": 2, "totalPages": 1}
    assert [t["id"] for t in (await get(store, "traces", tags="t1"))["data"]] == [f"{2:032x}"]
    assert (await get(store, "traces", limit=2, page=2))["data"][0]["id"] == f"{1:032x}"
    assert {s["id"] for s in (await get(store, "sessions"))["data"]} == {"s1", "s2"}
    assert len((await get(store, "sessions/s1"))["traces"]) == 2


async def test_observations_by_page_and_what_they_cost(store: TraceStore) -> None:
    costs = {"langfuse.observation.cost_details": '{"input": 0.25, "output": 0.5}'}
    for n in range(3):
        await store.export(span(n + 1, name=f"n{n}", start=1_790_000_000 + n, attributes=costs))
    first = await get(store, "observations", traceId=TRACE, limit=2)
    assert [o["name"] for o in first["data"]] == ["n2", "n1"]
    assert first["meta"] == {"page": 1, "limit": 2, "totalItems": 3, "totalPages": 2}
    second = await get(store, "observations", traceId=TRACE, limit=2, page=2)
    assert [o["calculatedTotalCost"] for o in second["data"]] == [0.75]
    assert (await get(store, "observations", name="n1"))["meta"]["totalItems"] == 1
    assert (await store.client.get("/api/public/observations?filter=no")).status_code == 400
    assert (await get(store, f"traces/{TRACE}"))["totalCost"] == 2.25


async def test_an_observation_is_found_by_its_id_alone(store: TraceStore) -> None:
    for n in range(3):
        await store.export({"trace": f"{n + 1:032x}", "id": f"{n + 7:016x}", "name": f"n{n}"})
    found = await get(store, f"observations/{8:016x}")
    assert (found["name"], found["traceId"]) == ("n1", f"{2:032x}")
    missing = await store.client.get("/api/public/observations/ffffffffffffffff")
    assert missing.status_code == 404
    assert missing.json()["error"] == "LangfuseNotFoundError"


async def test_a_filter_of_traces_is_obeyed_or_refused_by_name(store: TraceStore) -> None:
    for n, user in enumerate(["ada", "bo"]):
        attributes = {"user.id": user, "langfuse.observation.metadata.adapter_version": f"a{n}"}
        await store.export({"trace": f"{n + 1:032x}", "id": "01" * 8, "attributes": attributes})

    async def asked(column: str, value: str, **more: Any) -> Any:
        one = {"type": "string", "column": column, "operator": "=", "value": value, **more}
        return await store.client.get("/api/public/traces", params={"filter": json.dumps([one])})

    for answer in (await asked("userId", "bo"), await asked("metadata", "a1", key="adapter_version")):
        assert [t["userId"] for t in answer.json()["data"]] == ["bo"]
        assert answer.json()["meta"]["totalItems"] == 1
    for column, named in (("mood", "'mood'"), ("type", "'type'"), ("metadata", "'metadata.None'")):
        refused = await asked(column, "x")
        assert (refused.status_code, refused.json()["error"]) == (400, "InvalidFilterColumn")
        assert named in refused.json()["message"]
        assert "sessionId" in refused.json()["message"]


async def test_a_cost_that_is_no_number_is_no_cost(store: TraceStore) -> None:
    for n, said in enumerate(['{"input": "much", "output": 0.5}', "[1]", "free"]):
        await store.export(span(n + 1, attributes={"langfuse.observation.cost_details": said}))
    assert (await get(store, f"traces/{TRACE}"))["totalCost"] == 0.5


async def test_events_change_what_was_said_before(store: TraceStore) -> None:
    generation = {"id": "g", "traceId": "t", "name": "llm", "startTime": "2026-01-01T00:00:00Z", "input": "q"}
    ended = {"id": "g", "traceId": "t", "endTime": "2026-01-01T00:00:02Z", "output": {"role": "assistant"}}
    done = await ingest(
        store,
        ("trace-create", {"id": "t", "name": "first", "input": "question", "metadata": {"k": 1}}),
        ("generation-create", generation),
        ("generation-update", ended | {"usage": {"promptTokens": 3, "totalTokens": 5}}),
        ("trace-create", {"id": "t", "name": "second", "output": "answer"}),
        ("score-create", {"id": "s", "traceId": "t", "name": "ok", "value": 1, "dataType": "BOOLEAN"}),
        ("nonsense-create", {}),
        ("score-create", {"name": "about nothing", "value": 1}),
        ("generation-create", "no body"),
    )
    assert [e["id"] for e in done["successes"]] == ["0", "1", "2", "3", "4"]
    assert [e["id"] for e in done["errors"]] == ["5", "6", "7"]
    found = await get(store, "traces/t")
    assert (found["name"], found["input"], found["output"]) == ("second", "question", "answer")
    (observation,) = found["observations"]
    assert (observation["input"], observation["output"]) == ("q", {"role": "assistant"})
    assert (observation["latency"], observation["usage"]["total"]) == (2.0, 5)
    assert observation["type"] == "GENERATION"


async def test_scores_in_the_older_shape(store: TraceStore) -> None:
    for kind, value in (("BOOLEAN", 0), ("CATEGORICAL", "good"), ("NUMERIC", 0.5)):
        body = {"id": kind, "name": "n", "value": value, "dataType": kind, "sessionId": "s"}
        await store.client.post("/api/public/scores", json=body)
    found = {s["id"]: s for s in (await get(store, "v2/scores", sessionId="s"))["data"]}
    assert (found["BOOLEAN"]["value"], found["BOOLEAN"]["stringValue"]) == (0, "False")
    assert (found["CATEGORICAL"]["value"], found["CATEGORICAL"]["stringValue"]) == (0, "good")
    assert found["NUMERIC"]["value"] == 0.5
    assert "stringValue" not in found["NUMERIC"]
    assert (await get(store, "v2/scores/NUMERIC"))["id"] == "NUMERIC"


async def test_runs_of_a_dataset(store: TraceStore) -> None:
    await store.client.post("/api/public/v2/datasets", json={"name": "a/b"})
    item = (await store.client.post("/api/public/dataset-items", json={"datasetName": "a/b"})).json()
    body = {"runName": "r/1", "datasetItemId": item["id"], "traceId": TRACE}
    first = (await store.client.post("/api/public/dataset-run-items", json=body)).json()
    again = (await store.client.post("/api/public/dataset-run-items", json=body)).json()
    assert first["datasetRunId"] == again["datasetRunId"]
    assert [r["name"] for r in (await get(store, "datasets/a%2Fb/runs"))["data"]] == ["r/1"]
    run = await get(store, "datasets/a%2Fb/runs/r%2F1")
    assert [i["traceId"] for i in run["datasetRunItems"]] == [TRACE]
    asked = {"datasetId": item["datasetId"], "runName": "r/1"}
    assert len((await get(store, "dataset-run-items", **asked))["data"]) == 1
    assert (await store.client.delete("/api/public/datasets/a%2Fb/runs/r%2F1")).status_code == 200
    assert (await get(store, "datasets/a%2Fb/runs"))["data"] == []
