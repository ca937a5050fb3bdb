"""A second answer in a chat: blind, bounded, chosen from, and a row to train on in the end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from annotation.pairs import Mined, read
from annotation.record import Record
from annotation.traces import Traces
from tests.gateway.conftest import clerk
from tests.gateway.service import Gateway, neighbours, running, settings, until
from tests.gateway.traces.conftest import TraceStore, trace_store
from tests.graphs.model_server import MODEL, Reply

FEEDBACK = "/api/v1/feedback"
FIRST, SECOND = "You said: Hello", "Good day to you."


def moody(body: dict[str, Any]) -> Reply:
    """As the clerk; at a temperature it is politer, with another word at every seed."""
    if not body.get("temperature"):
        return clerk(body)
    return Reply(SECOND if "seed" not in body else f"{SECOND} {body['seed']}")


@dataclass
class Room:
    gateway: Gateway
    store: TraceStore
    start: dict[str, Any]

    async def compare(self, status: int = 201, **body: Any) -> dict[str, Any]:
        given = {"message_id": self.start["message_id"], **body}
        answer = await self.gateway.client.post(f"{FEEDBACK}/comparisons", json=given)
        assert answer.status_code == status, answer.text
        found: dict[str, Any] = answer.json()
        return found

    async def choose(self, pair: dict[str, Any], choice: str | None) -> dict[str, Any]:
        answer = await self.gateway.client.put(
            f"{FEEDBACK}/comparisons/{pair['id']}", json={"choice": choice}
        )
        assert answer.status_code == 200, answer.text
        kept: dict[str, Any] = answer.json()
        return kept

    async def preference(self) -> dict[str, Any] | None:
        """The score of the answer."""
        params = {"traceId": self.start["trace_id"], "name": "preference", "fields": "details,subject"}
        found = (await self.store.client.get("/api/public/v3/scores", params=params)).json()["data"]
        assert len(found) <= 1
        return found[0] if found else None

    async def scored(self, value: str | None) -> dict[str, Any]:
        async def arrived() -> Any:
            score = await self.preference()
            return [score] if (score["value"] if score else None) == value else None

        found = (await until(arrived, 60))[0]
        return found or {}

    async def mined(self) -> Mined:
        def reading() -> Mined:
            with closing(Traces(self.store.url, self.store.key.public, self.store.key.secret)) as traces:
                return read(traces, project="demo")

        return await asyncio.to_thread(reading)


@asynccontextmanager
async def room(folder: Path) -> AsyncIterator[Room]:
    async with (
        trace_store(folder) as store,
        neighbours(folder, moody) as (model, tools),
        running(settings(folder, traces_url=store.url), model, tools) as gateway,
    ):
        yield Room(gateway, store, (await gateway.chat("Hello"))[0][1])


async def test_a_choice_in_a_chat_becomes_a_row_with_what_the_model_saw(tmp_path: Path) -> None:
    async with room(tmp_path) as here:
        pair = await here.compare()
        assert {pair["left"][:16], pair["right"][:16]} == {FIRST[:16], SECOND}
        assert pair["choice"] is None
        assert "model" not in str(pair)
        assert MODEL not in str(pair)
        assert (await here.compare())["id"] == pair["id"]  # one that waits comes again
        better = "left" if pair["left"].startswith(SECOND) else "right"
        await here.choose(pair, better)
        score = await here.scored("rejected")
        generations = await here.store.observations(traceId=here.start["trace_id"], type="GENERATION")
        assert score["subject"]["id"] == generations[0]["id"]
        (row,) = (await here.mined()).rows
        assert (row.chosen[0].content, row.rejected[0].content) == (pair[better], FIRST)
        assert row.prompt[0].role == "system"
        assert row.prompt[-1].content == "Hello"
        assert row.session == here.start["conversation_id"]
        assert row.rejected_trace is not None
        assert row.chosen_trace is not None
        assert row.rejected_trace.trace_id == here.start["trace_id"]
        assert row.chosen_trace.model == MODEL
        (second,) = await here.store.observations(traceId=row.chosen_trace.trace_id, fields="basic,io")
        assert second["id"] == row.chosen_trace.generation_id
        assert pair[better] in second["output"]
        record = Record(tmp_path / "record")
        record.folder.mkdir()
        assert record.set_direct([row]) == 1
        # Judging again replaces; a tie gives no row, not even the former one.
        await here.choose(pair, "tie")
        await here.scored("tie")
        mined = await here.mined()
        assert (mined.rows, mined.tasks, mined.alone) == ([], [], [])
        record.set_direct(mined.rows, mined.even)
        assert record.direct() == []
        assert (await here.choose(pair, None))["choice"] is None
        await here.scored(None)
        assert [one.answer[0].content for one in (await here.mined()).alone] == [FIRST]


async def test_what_was_chosen_is_seen_again_and_goes_with_the_conversation(tmp_path: Path) -> None:
    async with room(tmp_path) as here:
        pair = await here.choose(await here.compare(), "both_bad")
        params = {"conversation_id": here.start["conversation_id"]}
        address = f"{FEEDBACK}/comparisons"
        client = here.gateway.client
        assert (await client.get(address, params=params)).json()["items"] == [pair]
        await client.post("/api/v1/projects", json={"name": "other"})
        bound = here.gateway.key(await here.gateway.new_key(project="other", scopes=["chat"]))
        assert (await client.get(address, params=params, headers=bound)).json()["items"] == []
        body = {"choice": "left"}
        refused = await client.put(f"{address}/{pair['id']}", json=body, headers=bound)
        assert refused.status_code == 404
        asked = {"message_id": here.start["message_id"]}
        assert (await client.post(address, json=asked, headers=bound)).status_code == 404
        path = f"/api/v1/projects/demo/conversations/{here.start['conversation_id']}"
        assert (await client.delete(path)).status_code == 204
        assert (await client.put(f"{address}/{pair['id']}", json=body)).status_code == 404


async def test_a_second_answer_is_bounded_and_says_what_is_wrong(tmp_path: Path) -> None:
    async with room(tmp_path) as here:
        unknown = await here.compare(404, model="nobody")
        assert MODEL in unknown["error"]["message"]
        await here.compare(422, temperature=3)
        same = await here.compare(502, model=MODEL, temperature=0)
        assert "no other answer" in same["error"]["message"]
        here.gateway.model.script = lambda body: Reply(status=503, error={"message": "It is loading."})
        failed = await here.compare(502)
        assert "It is loading." in failed["error"]["message"]
        here.gateway.model.script = moody
        seen = set()
        for _ in range(5):
            pair = await here.compare(model=MODEL, temperature=1.5)
            seen.add(frozenset((pair["left"], pair["right"])))
            await here.choose(pair, "left")
        assert len(seen) == 5
        assert "most" in (await here.compare(409))["error"]["message"]


async def test_two_requests_at_once_make_one_second_answer(tmp_path: Path) -> None:
    async with room(tmp_path) as here:
        body = {"message_id": here.start["message_id"]}
        answers = await asyncio.gather(
            *(here.gateway.client.post(f"{FEEDBACK}/comparisons", json=body) for _ in range(3))
        )
        assert sorted(answer.status_code for answer in answers) == [201, 409, 409]


async def test_without_traces_there_is_nothing_to_compare(gateway: Gateway) -> None:
    start = (await gateway.chat("Hello"))[0][1]
    body = {"message_id": start["message_id"]}
    answer = await gateway.client.post(f"{FEEDBACK}/comparisons", json=body)
    assert answer.status_code == 409
    assert "traced" in answer.json()["error"]["message"]


@pytest.mark.parametrize("body", [{"choice": "first"}, {}, {"choice": "left", "more": 1}])
async def test_a_choice_that_is_none_is_refused(gateway: Gateway, body: dict[str, Any]) -> None:
    assert (await gateway.client.put(f"{FEEDBACK}/comparisons/x", json=body)).status_code == 422
