"""A request with the client's own tools is traced as every chat is, however it ends."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tests.gateway.service import ADMIN_KEY, Gateway, until
from tests.gateway.traces.conftest import EXPORT, TraceStore, trace_store
from tests.gateway.traces.test_chat_traces import chatting
from tests.graphs.model_server import Reply, serving

EXACT = "starter:citing@sha256:1a2b3c4d5e6f"
PARAMETERS = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOOL: Any = {"type": "function", "function": {"name": "weather", "parameters": PARAMETERS}}
ASKED: Any = [{"role": "user", "content": "Is it raining in Ghent?"}]


def script(body: dict[str, Any]) -> Reply:
    """Asks for the weather, and tells it as soon as it is there."""
    question = body["messages"][1]["content"]
    if "refuse" in question:
        return Reply(status=400, error={"message": "no such parameter", "code": "bad_parameter"})
    if "break" in question:
        return Reply("half an answer", breaks=True)
    if "slow" in question:
        return Reply("word " * 400, pause=0.02 if body.get("stream") else 5)
    if body["messages"][-1]["role"] == "tool":
        return Reply("Yes, it is raining.", model=EXACT)
    return Reply(calls=[("weather", {"city": "Ghent"})], model=EXACT)


@asynccontextmanager
async def asking(store: TraceStore) -> AsyncIterator[tuple[Gateway, AsyncOpenAI]]:
    async with chatting(store.data, store.url) as gateway:
        gateway.model.script = script
        async with AsyncOpenAI(
            base_url=f"{gateway.url}/v1", api_key=ADMIN_KEY, max_retries=0, timeout=30
        ) as client:
            yield gateway, client


def results(call: Any) -> list[Any]:
    """What a client sends after it has run the tool."""
    asked = {"role": "assistant", "content": None, "tool_calls": [call.model_dump()]}
    return [*ASKED, asked, {"role": "tool", "tool_call_id": call.id, "content": "rain"}]


async def arrived(store: TraceStore, count: int) -> list[dict[str, Any]]:
    """All observations, the oldest first, once so many are there."""

    async def there() -> list[dict[str, Any]]:
        fields = "basic,time,io,metadata,model,usage,metrics"
        found = await store.observations(fields=fields, expandMetadata="project")
        return sorted(found, key=lambda o: o["startTime"]) if len(found) >= count else []

    found: list[dict[str, Any]] = await until(there)
    assert len(found) == count
    return found


async def conversation(gateway: Gateway) -> dict[str, Any]:
    """The only one."""
    path = "/api/v1/projects/demo/conversations"

    async def stored() -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = (await gateway.client.get(path)).json()["items"]
        return items

    (item,) = await until(stored)
    found: dict[str, Any] = (await gateway.client.get(f"{path}/{item['id']}")).json()
    return found


async def test_the_rounds_of_an_exchange_are_one_trace(store: TraceStore) -> None:
    async with asking(store) as (gateway, client):
        create = client.chat.completions.create
        first = await create(model="general", messages=ASKED, tools=[TOOL], temperature=0.25)
        (call,) = first.choices[0].message.tool_calls or []
        told = await create(model="general", messages=results(call), tools=[TOOL])
        assert told.choices[0].message.content == "Yes, it is raining."
        sent = gateway.model.requests
        found = await arrived(store, 4)
        talk = await conversation(gateway)
        me = (await gateway.client.get("/api/v1/me")).json()
        trace = found[0]["traceId"]
        shown = (await gateway.client.get(f"/api/v1/traces/{trace}")).json()
        traced_by = gateway.model.traced_by
    assert traced_by == [store.key.public] * 2
    assert {o["traceId"] for o in found} == {trace}
    assert {o["sessionId"] for o in found} == {talk["id"]}
    (user,) = {o["userId"] for o in found}
    assert user in json.dumps(me)
    assert [o["name"] for o in found if o["isRootObservation"]] == ["general", "general"]
    rounds = [o for o in found if o["type"] == "GENERATION"]
    for generation, body in zip(rounds, sent, strict=True):
        assert json.loads(generation["input"]) == {"messages": body["messages"], "tools": body["tools"]}
        assert generation["model"] == EXACT
        assert generation["metadata"]["adapter_version"] == "citing@sha256:1a2b3c4d5e6f"
        assert generation["metadata"]["base_model"] == "starter"
        assert len(generation["metadata"]["prompt_hash"]) == 12
        assert generation["usageDetails"]["output"] == 7
        assert generation["latency"] > 0
    assert rounds[0]["modelParameters"] == {"temperature": 0.25}
    assert json.loads(rounds[0]["output"])["tool_calls"][0]["function"]["name"] == "weather"
    assert json.loads(rounds[1]["output"]) == {"role": "assistant", "content": "Yes, it is raining."}
    answer = talk["messages"][-1]
    assert (answer["trace_id"], answer["usage"]["completion_tokens"]) == (trace, 7)
    assert rounds[1]["metadata"]["message_id"] == answer["id"]
    # The console shows it to whoever asked, as it does a chat.
    assert (shown["project"], shown["conversation_id"]) == ("demo", talk["id"])
    assert (shown["question"], shown["answer"]) == (ASKED[0]["content"], "Yes, it is raining.")


async def test_a_stream_is_traced_with_its_usage_and_its_first_word(store: TraceStore) -> None:
    async with asking(store) as (_, client):
        create = client.chat.completions.create
        chunks = [c async for c in await create(model="general", messages=ASKED, tools=[TOOL], stream=True)]
        (call,) = [c.choices[0].delta.tool_calls[0] for c in chunks if c.choices[0].delta.tool_calls]
        spoken = await create(
            model="general",
            messages=results(call),
            tools=[TOOL],
            stream=True,
            stream_options={"include_usage": True},
        )
        usages = [chunk.usage async for chunk in spoken if chunk.usage]
        found = await arrived(store, 4)
    assert not any(chunk.usage for chunk in chunks)  # only who asks for it is told
    assert [usage.completion_tokens for usage in usages] == [7]
    asked, answered = [o for o in found if o["type"] == "GENERATION"]
    calls = json.loads(asked["output"])["tool_calls"]
    assert json.loads(calls[0]["function"]["arguments"]) == {"city": "Ghent"}
    assert json.loads(answered["output"])["content"] == "Yes, it is raining."
    for generation in (asked, answered):
        assert generation["usageDetails"]["output"] == 7
        assert 0 < generation["timeToFirstToken"] <= generation["latency"]


@pytest.mark.parametrize("stream", [True, False])
async def test_what_the_model_server_refuses_is_traced_with_the_reason(
    store: TraceStore, stream: bool
) -> None:
    async with asking(store) as (gateway, client):
        refused: Any = [{"role": "user", "content": "Please refuse"}]
        with pytest.raises(openai.BadRequestError, match="no such parameter"):
            await client.chat.completions.create(
                model="general", messages=refused, tools=[TOOL], stream=stream
            )
        found = await arrived(store, 2)
        talk = await conversation(gateway)
    for one in found:
        assert (one["level"], one["statusMessage"]) == ("ERROR", "no such parameter")
    (generation,) = [o for o in found if o["type"] == "GENERATION"]
    assert json.loads(generation["input"])["tools"] == [TOOL]
    assert talk["messages"][-1]["state"] == "failed"


async def test_a_stream_that_breaks_off_is_traced_with_what_had_come(store: TraceStore) -> None:
    async with asking(store) as (_, client):
        broken: Any = [{"role": "user", "content": "Please break off"}]
        stream = await client.chat.completions.create(
            model="general", messages=broken, tools=[TOOL], stream=True
        )
        with pytest.raises(openai.APIError, match="Try again"):
            async for _ in stream:
                pass
        found = await arrived(store, 2)
    (generation,) = [o for o in found if o["type"] == "GENERATION"]
    assert generation["level"] == "ERROR"
    assert "went away" in generation["statusMessage"]
    assert json.loads(generation["output"])["content"] == "half "


@pytest.mark.parametrize("stream", [True, False])
async def test_a_client_that_vanishes_leaves_a_trace(store: TraceStore, stream: bool) -> None:
    async with asking(store) as (gateway, client):
        slow: Any = [{"role": "user", "content": "Be slow"}]

        async def ask() -> None:
            answer: Any = await client.chat.completions.create(
                model="general", messages=slow, tools=[TOOL], stream=stream
            )
            async for _ in answer:
                pass

        task = asyncio.create_task(ask())

        async def asked() -> bool:
            return bool(gateway.model.requests)

        await until(asked)
        await asyncio.sleep(0.3)
        task.cancel()
        found = await arrived(store, 2)
        await asyncio.gather(task, return_exceptions=True)
        talk = await conversation(gateway)
    (generation,) = [o for o in found if o["type"] == "GENERATION"]
    assert (generation["level"], talk["messages"][-1]["state"]) == ("WARNING", "cancelled")
    assert "client went away" in generation["statusMessage"]
    said = json.loads(generation["output"])["content"]
    assert (said or "").startswith("word " if stream else "")
    assert bool(said) == stream


async def test_a_sink_that_hangs_slows_nothing(tmp_path: Path) -> None:
    async def hang(_: Request) -> Response:
        await asyncio.sleep(600)
        return Response()

    async with trace_store(tmp_path):
        pass  # makes the keys
    async with serving(Starlette(routes=[Route(EXPORT, hang, methods=["POST"])])) as url:
        async with trace_store(tmp_path) as store:
            broken = TraceStore(url, tmp_path, store.key, store.client)
        async with asking(broken) as (_, client):
            began = time.monotonic()
            for _ in range(5):
                await client.chat.completions.create(model="general", messages=ASKED, tools=[TOOL])
            assert time.monotonic() - began < 5
    async with trace_store(tmp_path) as store, asking(store):
        assert {o["name"] for o in await arrived(store, 10)} == {"general", "passed-through"}
