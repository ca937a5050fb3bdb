"""Thumbs, stars, comments and corrections: kept, changed, one's own only, and sent along as scores."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.gateway.conftest import clerk
from tests.gateway.service import Gateway, neighbours, running, settings, until
from tests.gateway.traces.conftest import TraceStore, trace_store

FEEDBACK = "/api/v1/feedback"


async def answer_of(gateway: Gateway, text: str = "Hello") -> dict[str, Any]:
    """The start event of an answer that is complete."""
    return (await gateway.chat(text))[0][1]


async def test_feedback_is_kept_and_changed(any_gateway: Gateway) -> None:
    start = await answer_of(any_gateway)
    client, message = any_gateway.client, start["message_id"]
    first = await client.post(FEEDBACK, json={"message_id": message, "thumb": "down", "stars": 2})
    assert first.status_code == 200, first.text
    body = {"message_id": message, "thumb": "up", "correction": "Good day."}
    second = (await client.post(FEEDBACK, json=body)).json()
    assert second["id"] == first.json()["id"]
    assert (second["thumb"], second["stars"], second["correction"]) == ("up", 2, "Good day.")
    params = {"conversation_id": start["conversation_id"]}
    assert (await client.get(FEEDBACK, params=params)).json()["items"] == [second]


@pytest.mark.parametrize(
    "body",
    [{}, {"thumb": None}, {"thumb": "sideways"}, {"stars": 0}, {"stars": 6}, {"comment": ""}, {"more": 1}],
)
async def test_feedback_that_says_nothing_or_nonsense_is_refused(
    gateway: Gateway, body: dict[str, Any]
) -> None:
    message = (await answer_of(gateway))["message_id"]
    assert (await gateway.client.post(FEEDBACK, json={"message_id": message, **body})).status_code == 422


async def test_only_answers_of_ones_own_projects(gateway: Gateway) -> None:
    start = await answer_of(gateway)
    await gateway.client.post("/api/v1/projects", json={"name": "other"})
    bound = await gateway.new_key(project="other", scopes=["chat"])
    body = {"message_id": start["message_id"], "thumb": "up"}
    refused = await gateway.client.post(FEEDBACK, json=body, headers=gateway.key(bound))
    assert refused.status_code == 404
    question = {"message_id": start["question_id"], "thumb": "up"}
    assert (await gateway.client.post(FEEDBACK, json=question)).status_code == 404
    params = {"conversation_id": start["conversation_id"]}
    seen = await gateway.client.get(FEEDBACK, params=params, headers=gateway.key(bound))
    assert seen.json()["items"] == []


async def test_a_key_without_the_scope_gives_no_feedback(gateway: Gateway) -> None:
    start = await answer_of(gateway)
    key = await gateway.new_key(scopes=["tools"])
    body = {"message_id": start["message_id"], "thumb": "up"}
    assert (await gateway.client.post(FEEDBACK, json=body, headers=gateway.key(key))).status_code == 403


async def test_feedback_goes_with_its_conversation(gateway: Gateway) -> None:
    start = await answer_of(gateway)
    await gateway.client.post(FEEDBACK, json={"message_id": start["message_id"], "thumb": "up"})
    path = f"/api/v1/projects/demo/conversations/{start['conversation_id']}"
    assert (await gateway.client.delete(path)).status_code == 204
    params = {"conversation_id": start["conversation_id"]}
    assert (await gateway.client.get(FEEDBACK, params=params)).json()["items"] == []


async def test_feedback_becomes_scores_of_the_trace(tmp_path: Path) -> None:
    async with trace_store(tmp_path) as store, neighbours(tmp_path, clerk) as (model, tools):
        chosen = settings(tmp_path, traces_url=store.url)
        async with running(chosen, model, tools) as gateway:
            start = await answer_of(gateway)
            for thumb in ("down", "up"):
                body = {"message_id": start["message_id"], "thumb": thumb, "correction": "Good day."}
                assert (await gateway.client.post(FEEDBACK, json=body)).status_code == 200

            async def arrived() -> list[dict[str, Any]]:
                params = {"traceId": start["trace_id"], "fields": "subject"}
                found = (await store.client.get("/api/public/v3/scores", params=params)).json()["data"]
                return found if any(score["value"] is True for score in found) else []

            found = {score["name"]: score for score in await until(arrived)}
            generations = await store.observations(traceId=start["trace_id"], type="GENERATION")
    assert (found["thumbs"]["value"], found["correction"]["value"]) == (True, "Good day.")
    assert found["correction"]["dataType"] == "CORRECTION"
    assert found["thumbs"]["subject"]["kind"] == "observation"
    assert found["thumbs"]["subject"]["id"] == generations[0]["id"]


async def scores_of(store: TraceStore, trace: str) -> list[dict[str, Any]]:
    params = {"traceId": trace, "fields": "details"}
    found: list[dict[str, Any]]
    found = (await store.client.get("/api/public/v3/scores", params=params)).json()["data"]
    return found


async def test_feedback_that_did_not_reach_the_spool_is_sent_at_the_next_start(tmp_path: Path) -> None:
    """As after a crash between the commit and the spool, or with a full disk."""
    spool = tmp_path / "run" / "spool"
    async with trace_store(tmp_path) as store, neighbours(tmp_path, clerk) as (model, tools):
        chosen = settings(tmp_path, traces_url=store.url)
        async with running(chosen, model, tools) as gateway:
            start = await answer_of(gateway)

            async def traced() -> bool:
                return bool(await store.observations(traceId=start["trace_id"], isRootObservation="true"))

            await until(traced, 60)
            shutil.rmtree(spool)
            spool.write_text("in the way")
            for thumb in ("up", "down"):
                body = {"message_id": start["message_id"], "thumb": thumb, "comment": "So so."}
                assert (await gateway.client.post(FEEDBACK, json=body)).status_code == 200
            assert await scores_of(store, start["trace_id"]) == []
            metrics = (await gateway.client.get("/metrics")).text
            assert "loopyard_gateway_spool_dropped 0.0" in metrics
        spool.unlink()
        for _ in range(2):  # the second start has nothing left to say
            async with running(chosen, model, tools):

                async def arrived() -> bool:
                    return len(await scores_of(store, start["trace_id"])) == 2

                await until(arrived, 60)
        found = {s["name"]: s["value"] for s in await scores_of(store, start["trace_id"])}
    assert found == {"thumbs": False, "comment": "So so."}


async def test_what_has_been_sent_is_not_sent_again(tmp_path: Path) -> None:
    async with trace_store(tmp_path) as store, neighbours(tmp_path, clerk) as (model, tools):
        chosen = settings(tmp_path, traces_url=store.url)
        async with running(chosen, model, tools) as gateway:
            start = await answer_of(gateway)
            body = {"message_id": start["message_id"], "stars": 4}
            assert (await gateway.client.post(FEEDBACK, json=body)).status_code == 200

            async def arrived() -> list[dict[str, Any]]:
                return await scores_of(store, start["trace_id"])

            (score,) = await until(arrived, 60)
            assert (await store.client.delete(f"/api/public/scores/{score['id']}")).status_code == 202
        async with running(chosen, model, tools) as gateway:
            other = await answer_of(gateway)
            assert (
                await gateway.client.post(FEEDBACK, json={"message_id": other["message_id"], "stars": 1})
            ).status_code == 200

            async def later() -> list[dict[str, Any]]:
                return await scores_of(store, other["trace_id"])

            await until(later, 60)
            assert await scores_of(store, start["trace_id"]) == []


async def test_marks_are_taken_back_one_by_one_and_so_are_their_scores(tmp_path: Path) -> None:
    async with trace_store(tmp_path) as store, neighbours(tmp_path, clerk) as (model, tools):
        chosen = settings(tmp_path, traces_url=store.url)
        async with running(chosen, model, tools) as gateway:
            start = await answer_of(gateway)
            path = f"{FEEDBACK}/{start['message_id']}"

            async def said(body: dict[str, Any]) -> dict[str, Any]:
                changed = await gateway.client.patch(path, json=body)
                assert changed.status_code == 200, changed.text
                names = ("thumb", "stars", "comment", "correction")
                return {name: changed.json()[name] for name in names if changed.json()[name] is not None}

            async def scored(**wanted: Any) -> None:
                async def arrived() -> bool:
                    found = await scores_of(store, start["trace_id"])
                    return {s["name"]: s["value"] for s in found} == wanted

                await until(arrived, 60)

            await said({"thumb": "down", "stars": 2, "comment": "Too\0 long."})
            await scored(thumbs=False, stars=2.0, comment="Too long.")
            left = await said({"thumb": "up", "comment": None})
            assert left == {"thumb": "up", "stars": 2}
            await scored(thumbs=True, stars=2.0)
            assert await said({"thumb": None, "stars": None}) == {}
            await scored()
            params = {"conversation_id": start["conversation_id"]}
            assert (await gateway.client.get(FEEDBACK, params=params)).json()["items"] == []
            await said({"stars": 5})
            await scored(stars=5.0)


@pytest.mark.parametrize("body", [{}, {"stars": 0}, {"comment": ""}, {"comment": "x" * 10_001}, {"more": 1}])
async def test_a_change_that_says_nothing_or_nonsense_is_refused(
    any_gateway: Gateway, body: dict[str, Any]
) -> None:
    message = (await answer_of(any_gateway))["message_id"]
    assert (await any_gateway.client.patch(f"{FEEDBACK}/{message}", json=body)).status_code == 422
