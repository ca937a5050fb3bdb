"""Traces for the console: found by what one asks, shown as a tree, and nobody's but one's own projects'."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from gateway.trace_view import tree
from tests.gateway.conftest import QUOTE, clerk, fill, fresh_database
from tests.gateway.service import Gateway, neighbours, running, settings, until
from tests.gateway.traces.conftest import TraceStore, trace_store

TRACES = "/api/v1/traces"
OUTSIDE = "ab" * 16
MODEL = "base:polite@sha256:0123456789ab"
SECONDS = 60.0


@dataclass
class House:
    """A gateway that traces to a store, with a project `demo` that can answer and one more, `other`."""

    gateway: Gateway
    store: TraceStore

    async def listed(self, key: str | None = None, **params: Any) -> list[dict[str, Any]]:
        headers = self.gateway.key(key) if key else {}
        found = await self.gateway.client.get(TRACES, params=params, headers=headers)
        assert found.status_code == 200, found.text
        items: list[dict[str, Any]] = found.json()["items"]
        return items

    async def trace(self, trace_id: str, key: str | None = None) -> Any:
        headers = self.gateway.key(key) if key else {}
        return await self.gateway.client.get(f"{TRACES}/{trace_id}", headers=headers)

    async def asked(self, text: str, **body: Any) -> dict[str, Any]:
        """The start event of an answer whose trace has arrived whole."""
        start = (await self.gateway.chat(text, **body))[0][1]

        async def arrived() -> bool:
            found = await self.store.observations(traceId=start["trace_id"], fields="basic")
            return any(one["isRootObservation"] for one in found)

        await until(arrived, SECONDS)
        return start


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def opened(
    kind: str, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> AsyncIterator[House]:
    folder = tmp_path_factory.mktemp("traced")
    url = "" if kind == "sqlite" else fresh_database(request.getfixturevalue("postgres"))
    async with trace_store(folder) as store, neighbours(folder, clerk) as (model, tools):
        chosen = settings(folder, database_url=url, traces_url=store.url)
        async with running(chosen, model, tools) as gateway:
            await fill(gateway)
            yield House(gateway, store)


@pytest_asyncio.fixture(loop_scope="module")
async def house(opened: House) -> House:
    await opened.gateway.empty(clerk)
    await fill(opened.gateway)
    made = await opened.gateway.client.post("/api/v1/projects", json={"name": "other"})
    assert made.status_code == 201
    return opened


def span(number: int, parent: int = 0, trace: str = OUTSIDE, **given: Any) -> dict[str, Any]:
    """A span of the exporter, `number` seconds after the first."""
    return {
        "trace": trace,
        "id": f"{number:016x}",
        "parent": f"{parent:016x}" if parent else "",
        "start": 1_790_000_000 + number,
        **given,
    }


async def test_a_chat_is_listed_with_its_question_its_times_and_its_model(house: House) -> None:
    start = await house.asked("How much sick leave do I get?")
    (row, *_) = await house.listed(project="demo")
    assert (row["id"], row["message_id"]) == (start["trace_id"], start["message_id"])
    assert (row["project"], row["conversation_id"]) == ("demo", start["conversation_id"])
    assert (row["question"], row["answer"]) == ("How much sick leave do I get?", QUOTE)
    assert row["models"] == ["loopyard-starter"]
    assert row["tokens"]["total"] > 0
    assert 0 < row["model_ms"] <= row["ms"]
    assert row["errors"] == 0


async def test_a_trace_is_a_tree_and_a_span_shows_what_went_in_and_out(house: House) -> None:
    start = await house.asked("How much sick leave do I get?")
    found = (await house.trace(start["trace_id"])).json()
    assert not found["truncated"]
    spans = found["tree"]
    assert (spans[0]["depth"], spans[0]["name"]) == (0, "general")
    above = {one["id"]: one for one in spans}
    for one in spans[1:]:
        assert one["depth"] == above[one["parent"]]["depth"] + 1
        assert one["offset_ms"] >= above[one["parent"]]["offset_ms"]
    generation = [one for one in spans if one["kind"] == "GENERATION"][-1]
    path = f"{TRACES}/{start['trace_id']}/spans/{generation['id']}"
    detail = (await house.gateway.client.get(path)).json()
    assert detail["output"]["content"] == QUOTE
    assert "sick leave" in json.dumps(detail["input"])
    assert not detail["cut"]
    missing = await house.gateway.client.get(f"{TRACES}/{start['trace_id']}/spans/{'0' * 16}")
    assert missing.status_code == 404


async def test_lists_are_narrowed_by_what_one_asks(house: House) -> None:
    mine = await house.asked("Hello")
    leave = await house.asked("How much sick leave do I get?")
    me = (await house.gateway.client.get("/api/v1/me")).json()["id"]

    async def ids(**params: Any) -> list[str]:
        return [row["id"] for row in await house.listed(project="demo", **params)]

    both = [leave["trace_id"], mine["trace_id"]]
    assert await ids() == both
    assert await ids(user=me) == both
    assert await ids(user="nobody") == []
    assert await ids(session=mine["conversation_id"]) == [mine["trace_id"]]
    assert await ids(name="general") == both
    assert await ids(name="sql-analyst") == []
    assert await ids(model="STARTER") == both
    assert await ids(model="polite") == []
    assert await ids(text="SICK LEAVE") == [leave["trace_id"]]
    assert await ids(text="%") == []
    assert await ids(level="ERROR") == []
    assert await ids(since="2100-01-01T00:00:00Z") == []
    assert await ids(before="2000-01-01T00:00:00Z") == []
    assert await ids(since="2000-01-01T00:00:00Z", before="2100-01-01T00:00:00Z") == both


async def test_thumbs_and_scores_find_their_traces(house: House) -> None:
    good, bad = await house.asked("Hello"), await house.asked("Hello again")
    for start, thumb in ((good, "up"), (bad, "down")):
        body = {"message_id": start["message_id"], "thumb": thumb, "comment": "So it is."}
        assert (await house.gateway.client.post("/api/v1/feedback", json=body)).status_code == 200

    async def scored() -> bool:
        return len(await house.listed(project="demo", scored="true")) == 2

    await until(scored, SECONDS)
    (up,) = await house.listed(project="demo", thumb="up")
    assert up["id"] == good["trace_id"]
    assert {(score["name"], score["value"]) for score in up["scores"]} == {
        ("thumbs", True),
        ("comment", "So it is."),
    }
    (down,) = await house.listed(project="demo", thumb="down")
    assert down["id"] == bad["trace_id"]


async def test_pages_follow_each_other_without_a_gap(house: House) -> None:
    asked = [(await house.asked(f"Hello {n}"))["trace_id"] for n in range(3)]
    found, cursor = [], None
    for _ in range(10):
        params: dict[str, Any] = {"project": "demo", "limit": 1, **({"cursor": cursor} if cursor else {})}
        page = (await house.gateway.client.get(TRACES, params=params)).json()
        found += [row["id"] for row in page["items"]]
        cursor = page["cursor"]
        if cursor is None:
            break
    assert found == asked[::-1]


async def test_a_key_of_another_project_sees_nothing_of_it(house: House) -> None:
    start = await house.asked("How much sick leave do I get?")
    bound = await house.gateway.new_key(project="other", scopes=["chat", "manage"])
    assert await house.listed(bound) == []
    assert await house.listed(bound, text="sick leave") == []
    assert await house.listed(bound, session=start["conversation_id"]) == []
    refused = await house.gateway.client.get(
        TRACES, params={"project": "demo"}, headers=house.gateway.key(bound)
    )
    assert refused.status_code == 403
    hidden = await house.trace(start["trace_id"], bound)
    nothing = await house.trace("0" * 32, bound)
    assert hidden.status_code == nothing.status_code == 404
    assert hidden.json()["error"]["code"] == nothing.json()["error"]["code"]
    spans = (await house.trace(start["trace_id"])).json()["tree"]
    path = f"{TRACES}/{start['trace_id']}/spans/{spans[0]['id']}"
    assert (await house.gateway.client.get(path, headers=house.gateway.key(bound))).status_code == 404


async def test_a_trace_that_no_chat_made_is_the_admins(house: House) -> None:
    attributes = {
        "langfuse.observation.input": '{"q": "A question from elsewhere"}',
        "langfuse.observation.output": "Said <b>so</b>",
        "langfuse.observation.type": "generation",
        "langfuse.observation.model.name": MODEL,
        "langfuse.observation.level": "ERROR",
        "langfuse.observation.usage_details": '{"input": 7, "output": 2}',
        # A client may write what it likes here: it opens no door.
        "langfuse.observation.metadata.project": "demo",
        "langfuse.trace.tags": ["demo"],
    }
    assert (await house.store.export(span(1, attributes=attributes))).status_code == 200
    assert [row["id"] for row in await house.listed(project="demo")] == []
    (row,) = [row for row in await house.listed() if row["id"] == OUTSIDE]
    assert (row["project"], row["answer"]) == (None, "Said <b>so</b>")
    assert (row["adapter"], row["errors"]) == ("polite@sha256:0123456789ab", 1)
    assert row["tokens"] == {"input": 7, "output": 2, "total": 9}
    for params in ({"model": "polite@sha256:0123"}, {"level": "ERROR"}, {"text": "FROM elsewhere"}):
        assert [row["id"] for row in await house.listed(**params)] == [OUTSIDE]
    limited = await house.gateway.new_key(scopes=["chat", "manage"])
    assert OUTSIDE not in [row["id"] for row in await house.listed(limited)]
    assert (await house.trace(OUTSIDE, limited)).status_code == 404
    bound = await house.gateway.new_key(project="demo", scopes=["admin"])
    assert (await house.trace(OUTSIDE, bound)).status_code == 404


async def test_a_key_without_the_scope_reads_no_traces(house: House) -> None:
    key = await house.gateway.new_key(scopes=["tools"])
    assert (await house.gateway.client.get(TRACES, headers=house.gateway.key(key))).status_code == 403


@pytest.mark.parametrize(
    "params",
    [
        {"limit": 0},
        {"limit": 101},
        {"thumb": "sideways"},
        {"text": "x" * 201},
        {"since": "soon"},
        {"more": 1},
    ],
)
async def test_what_makes_no_sense_is_refused(house: House, params: dict[str, Any]) -> None:
    assert (await house.gateway.client.get(TRACES, params=params)).status_code == 422


async def test_a_cursor_of_somebody_else_is_a_plain_error(house: House) -> None:
    answer = await house.gateway.client.get(TRACES, params={"cursor": "nonsense"})
    assert answer.status_code == 400
    assert "cursor" in answer.json()["error"]["message"]


async def test_a_store_that_is_down_is_told_and_chats_go_on(tmp_path: Path) -> None:
    async with trace_store(tmp_path):
        pass  # makes the keys
    chosen = settings(tmp_path, traces_url="http://127.0.0.1:9")
    async with neighbours(tmp_path, clerk) as (model, tools), running(chosen, model, tools) as gateway:
        for path in (TRACES, f"{TRACES}/{OUTSIDE}"):
            answer = await gateway.client.get(path)
            assert answer.status_code == 502
            assert answer.json()["error"]["code"] == "upstream_failed"
        assert (await gateway.chat("Hello"))[-1][0] == "done"


async def test_a_gateway_without_a_store_says_so(tmp_path: Path) -> None:
    async with (
        neighbours(tmp_path, clerk) as (model, tools),
        running(settings(tmp_path), model, tools) as gateway,
    ):
        answer = await gateway.client.get(TRACES)
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "no_trace_store")


def row(name: str, start: int, parent: str | None = None, end: int | None = None) -> dict[str, Any]:
    at = "2026-11-21T10:00:{:02d}.000000Z"
    return {
        "id": name,
        "startTime": at.format(start),
        "endTime": at.format(end) if end is not None else None,
        "parentObservationId": parent,
        "type": "TOOL",
    }


def test_spans_stand_before_those_inside_them() -> None:
    rows = [row("c", 3, "a"), row("b", 2, "a"), row("d", 3, "b"), row("a", 1), row("x", 0, "gone")]
    found = [(one["id"], depth) for one, depth in tree.ordered(rows)]
    assert found == [("x", 0), ("a", 0), ("b", 1), ("d", 2), ("c", 1)]


def test_spans_in_a_circle_and_a_very_deep_trace_are_shown() -> None:
    circle = [row("a", 1, "b"), row("b", 2, "a"), row("c", 3, "c")]
    assert {one["id"] for one, _ in tree.ordered(circle)} == {"a", "b", "c"}
    deep = [row(str(n), 1, str(n - 1) if n else None) for n in range(5000)]
    assert max(depth for _, depth in tree.ordered(deep)) == 4999


def test_what_runs_at_once_counts_once() -> None:
    rows = [row("a", 0, end=4), row("b", 1, end=3), row("c", 6, end=7), row("d", 8)]
    assert tree.busy(rows, {"TOOL"}) == 5000
    assert tree.busy(rows, {"GENERATION"}) == 0
