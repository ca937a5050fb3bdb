"""Chats over server-sent events: answered, stored, cancelled, failed, interrupted."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tests.gateway.conftest import QUOTE, clerk, fill
from tests.gateway.service import Gateway, events, neighbours, running, settings, until


def names(told: list[tuple[str, dict[str, Any]]]) -> list[str]:
    seen = [name for name, _ in told]
    return [name for i, name in enumerate(seen) if not (name == "token" and i and seen[i - 1] == "token")]


async def stored(gateway: Gateway, conversation_id: str) -> list[dict[str, Any]]:
    found = await gateway.client.get(f"/api/v1/projects/demo/conversations/{conversation_id}")
    messages: list[dict[str, Any]] = found.json()["messages"]
    return messages


async def test_a_question_about_documents(any_full_gateway: Gateway) -> None:
    told = await any_full_gateway.chat("How much sick leave do I get?")
    assert names(told) == [
        "start",
        "route",
        "tool_call",
        "tool_result",
        "token",
        "sources",
        "done",
    ]
    data = dict(told)
    assert data["route"] == {"route": "documents"}
    assert data["tool_call"]["name"] == "rag_search"
    assert data["tool_result"]["ok"]
    assert data["sources"]["items"][0]["verified"]
    assert data["done"]["answer"] == QUOTE
    assert data["done"]["message_id"] == data["start"]["message_id"]
    assert data["done"]["usage"]["total_tokens"] > 0


async def test_the_conversation_is_stored_with_its_steps(any_full_gateway: Gateway) -> None:
    told = await any_full_gateway.chat("How many albums are there?")
    start, done = told[0][1], told[-1][1]
    question, answer = await stored(any_full_gateway, start["conversation_id"])
    assert (question["role"], question["content"]) == ("user", "How many albums are there?")
    assert (answer["state"], answer["content"]) == ("complete", "There are 3 albums.")
    assert [step["event"] for step in answer["steps"]] == ["route", "tool_call", "tool_result"]
    assert answer["steps"][1]["data"]["arguments"] == {"sql": "SELECT COUNT(*) AS n FROM Album"}
    assert answer["trace_id"] == question["trace_id"] == start["trace_id"]
    assert answer["usage"] == done["usage"]
    listed = (await any_full_gateway.client.get("/api/v1/projects/demo/conversations")).json()["items"]
    assert [item["title"] for item in listed] == ["How many albums are there?"]


async def test_the_tools_get_the_project_and_its_databases_signed(full_gateway: Gateway) -> None:
    told = await full_gateway.chat("How many albums are there?")
    claims = [c for c in full_gateway.tools.claims if c["tool"] == "sql_query"][-1]
    project = (await full_gateway.client.get("/api/v1/projects/demo")).json()
    assert claims["project"] == project["id"]
    assert claims["scopes"] == ["tools:call"]
    assert claims["trace_id"] == told[0][1]["trace_id"]
    assert claims["exp"] - claims["iat"] == 60
    assert claims["databases"][0]["url"] == f"sqlite:///{full_gateway.tools.database}"


async def test_a_conversation_goes_on(gateway: Gateway) -> None:
    first = await gateway.chat("My name is Ada")
    conversation = first[0][1]["conversation_id"]
    await gateway.chat("What is my name?", conversation_id=conversation)
    sent = [m["content"] for m in gateway.model.requests[-1]["messages"] if m["role"] != "system"]
    assert sent == ["My name is Ada", "You said: My name is Ada", "What is my name?"]
    assert len(await stored(gateway, conversation)) == 4


async def test_a_conversation_can_be_deleted(gateway: Gateway) -> None:
    conversation = (await gateway.chat("Hello"))[0][1]["conversation_id"]
    address = f"/api/v1/projects/demo/conversations/{conversation}"
    assert (await gateway.client.delete(address)).status_code == 204
    assert (await gateway.client.get(address)).status_code == 404


async def test_a_reader_that_goes_away_cancels_the_run(full_gateway: Gateway) -> None:
    body = {"agent": "general", "message": "Be slow"}
    async with full_gateway.client.stream("POST", "/api/v1/projects/demo/chat", json=body) as answer:
        async for name, data in events(answer):
            if name == "start":
                conversation = data["conversation_id"]
            if name == "token":
                break
    async with asyncio.timeout(5):
        await full_gateway.model.gone.wait()

    async def cancelled() -> bool:
        return bool((await stored(full_gateway, conversation))[1]["state"] == "cancelled")

    await until(cancelled)
    assert (await stored(full_gateway, conversation))[1]["content"].startswith("word ")
    assert (await full_gateway.chat("Hello"))[-1][0] == "done"


async def test_a_model_server_that_dies_is_a_retryable_error_and_a_retry_answers(gateway: Gateway) -> None:
    told = await gateway.chat("Please break off")
    name, error = told[-1]
    assert (name, error["code"], error["retryable"]) == ("error", "model_unavailable", True)
    start = told[0][1]
    answer = (await stored(gateway, start["conversation_id"]))[1]
    assert (answer["state"], answer["error"]["retryable"]) == ("failed", True)
    gateway.model.script = lambda body: clerk({**body, "messages": [{"role": "user", "content": "Hi"}]})
    again = await gateway.chat("", retry=start["message_id"])
    assert again[0][1]["message_id"] == start["message_id"]
    assert again[-1][0] == "done"
    assert len(await stored(gateway, start["conversation_id"])) == 2


async def test_a_complete_answer_is_not_tried_again(gateway: Gateway) -> None:
    start = (await gateway.chat("Hello"))[0][1]
    refused = await gateway.client.post("/api/v1/projects/demo/chat", json={"retry": start["message_id"]})
    assert refused.status_code == 409


async def test_a_retry_that_cannot_begin_leaves_the_answer_as_it_was(gateway: Gateway) -> None:
    start = (await gateway.chat("Please break off"))[0][1]
    chats = gateway.app.state.services.chats
    chats.draining = True
    refused = await gateway.client.post("/api/v1/projects/demo/chat", json={"retry": start["message_id"]})
    chats.draining = False
    assert refused.status_code == 503
    assert (await stored(gateway, start["conversation_id"]))[1]["state"] == "failed"
    gateway.model.script = lambda body: clerk({**body, "messages": [{"role": "user", "content": "Hi"}]})
    assert (await gateway.chat("", retry=start["message_id"]))[-1][0] == "done"


async def test_tools_that_are_away_are_a_retryable_error(tmp_path: Path) -> None:
    async with neighbours(tmp_path, clerk) as (model, tools):
        tools.url = "http://127.0.0.1:9"
        async with running(settings(tmp_path), model, tools) as gateway:
            name, error = (await gateway.chat("Hello"))[-1]
    assert (name, error["code"], error["retryable"]) == ("error", "tools_unavailable", True)


@pytest.mark.parametrize(
    ("body", "status", "text"),
    [
        ({"agent": "nobody", "message": "Hi"}, 404, "data-analyst, documents, general"),
        ({"agent": "general", "message": "  "}, 400, "empty"),
        ({"agent": "general", "message": "Hi", "conversation_id": "x"}, 404, "No conversation"),
        ({"agent": "general", "message": "Hi", "colour": "red"}, 422, "colour"),
        ({"agent": "general", "message": "x" * 100_001}, 422, "message"),
        ({"retry": "x"}, 404, "No answer"),
    ],
)
async def test_bad_questions(gateway: Gateway, body: dict[str, Any], status: int, text: str) -> None:
    answer = await gateway.client.post("/api/v1/projects/demo/chat", json=body)
    assert answer.status_code == status
    assert text in answer.json()["error"]["message"]
    assert (await gateway.client.get("/api/v1/projects/demo/conversations")).json()["items"] == []


async def test_a_question_longer_than_the_context(gateway: Gateway) -> None:
    name, error = (await gateway.chat("word " * 10_000))[-1]
    assert (name, error["code"], error["retryable"]) == ("error", "context_length_exceeded", False)


async def test_an_unknown_project_names_those_that_exist(gateway: Gateway) -> None:
    answer = await gateway.client.post("/api/v1/projects/nowhere/chat", json={"message": "Hi"})
    assert answer.status_code == 404
    assert "demo" in answer.json()["error"]["message"]


async def test_eight_chats_at_once_all_finish(any_full_gateway: Gateway) -> None:
    questions = [f"How much sick leave do I get? ({n})" for n in range(8)]
    told = await asyncio.gather(*(any_full_gateway.chat(question) for question in questions))
    assert [events[-1][0] for events in told] == ["done"] * 8


async def test_answers_that_ran_when_the_gateway_died_can_be_tried_again(
    tmp_path: Path, database_url: str
) -> None:
    chosen = settings(tmp_path, database_url=database_url)
    async with neighbours(tmp_path, clerk) as (model, tools):
        async with running(chosen, model, tools) as gateway:
            await fill(gateway)
            asking = asyncio.create_task(gateway.chat("Be slow"))
            await until(lambda: _running(gateway))
        # The gateway above was stopped while it answered; its uvicorn waited a second and cut the stream.
        await asyncio.gather(asking, return_exceptions=True)
        async with running(chosen, model, tools) as gateway:
            (item,) = (await gateway.client.get("/api/v1/projects/demo/conversations")).json()["items"]
            question, answer = await stored(gateway, item["id"])
            assert question["content"] == "Be slow"
            assert answer["state"] in ("interrupted", "cancelled")
            model.script = lambda body: clerk({**body, "messages": [{"role": "user", "content": "Hi"}]})
            assert (await gateway.chat("", retry=answer["id"]))[-1][0] == "done"


async def _running(gateway: Gateway) -> bool:
    items = (await gateway.client.get("/api/v1/projects/demo/conversations")).json()["items"]
    return bool(items) and (await stored(gateway, items[0]["id"]))[-1]["state"] == "running"
