"""Traces say what a call cost and, where that was asked, how sure the model was of each token."""

from __future__ import annotations

import json
from typing import Any

import pytest
from openai import AsyncOpenAI

from gateway.settings import Settings
from graphs.prices import Price
from tests.gateway.conftest import fill
from tests.gateway.service import ADMIN_KEY, Gateway, until
from tests.gateway.traces.conftest import TraceStore
from tests.gateway.traces.test_chat_traces import SICK, chatting

HELLO: Any = [{"role": "user", "content": "Hello there"}]
TOOL: Any = {"type": "function", "function": {"name": "clock", "parameters": {"type": "object"}}}
EXPENSIVE = {"loopyard-*": Price(input=1000, output=100_000)}


async def generations(store: TraceStore, **asked: Any) -> list[dict[str, Any]]:
    """All of the store, once there are some."""

    async def there() -> list[dict[str, Any]]:
        roots = await store.observations(isRootObservation="true")
        found = await store.observations(
            type="GENERATION", fields="basic,io,metadata,usage", expandMetadata="logprobs", **asked
        )
        return found if roots else []

    found: list[dict[str, Any]] = await until(there)
    return found


async def shown(gateway: Gateway, trace: str) -> dict[str, Any]:
    found: dict[str, Any] = (await gateway.client.get(f"/api/v1/traces/{trace}")).json()
    return found


def asking(gateway: Gateway) -> AsyncOpenAI:
    return AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key=ADMIN_KEY, max_retries=0)


async def test_calls_and_their_trace_cost_what_the_settings_say(store: TraceStore) -> None:
    async with chatting(store.data, store.url, prices=EXPENSIVE) as gateway:
        await fill(gateway)
        told = await gateway.chat(SICK)
        trace = told[0][1]["trace_id"]
        found = await generations(store)
        view = await shown(gateway, trace)
        listed = (await gateway.client.get("/api/v1/traces")).json()["items"][0]
    for one in found:
        used, costs = one["usageDetails"], one["costDetails"]
        assert costs["input"] == pytest.approx(used["input"] / 1000)
        assert costs["output"] == pytest.approx(used["output"] / 10)
        assert one["totalCost"] == costs["total"] > 0
    total = sum(one["totalCost"] for one in found)
    assert view["cost"] == listed["cost"] == pytest.approx(total)
    assert sum(span["cost"] or 0 for span in view["tree"]) == pytest.approx(total)
    # As SDK 3 and 4 read it.
    older = (await store.client.get(f"/api/public/traces/{trace}")).json()
    assert older["totalCost"] == pytest.approx(total)
    assert (await store.client.get("/api/public/traces")).json()["data"][0]["totalCost"] == pytest.approx(
        total
    )


async def test_a_model_without_a_price_is_free(store: TraceStore) -> None:
    async with chatting(store.data, store.url) as gateway, asking(gateway) as client:
        await client.chat.completions.create(model="general", messages=HELLO, tools=[TOOL])
        (one,) = await generations(store)
        view = await shown(gateway, one["traceId"])
    assert one["costDetails"] == {"input": 0, "output": 0, "total": 0}
    assert view["cost"] == 0


def test_prices_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWAY_PRICES", '{"gpt-4o*": {"input": 2.5, "output": 10}}')
    assert Settings.from_environment().prices == {"gpt-4o*": Price(input=2.5, output=10)}
    monkeypatch.setenv("GATEWAY_PRICES", '{"gpt-4o*": {"input": -1, "output": 10}}')
    with pytest.raises(ValueError, match=r"gpt-4o\*.*input"):
        Settings.from_environment()


@pytest.mark.parametrize("tools", [None, [TOOL]], ids=["an agent", "the client's tools"])
@pytest.mark.parametrize("stream", [True, False])
async def test_logprobs_that_a_request_asks_for_are_in_its_trace(
    store: TraceStore, tools: Any, stream: bool
) -> None:
    async with chatting(store.data, store.url) as gateway, asking(gateway) as client:
        more: dict[str, Any] = {"tools": tools} if tools else {}
        create = client.chat.completions.create
        answer: Any = await create(
            model="general", messages=HELLO, logprobs=True, top_logprobs=1, stream=stream, **more
        )
        if stream:
            chunks = [chunk async for chunk in answer]
            given = [c.choices[0].logprobs for c in chunks if c.choices and c.choices[0].logprobs]
        else:
            given = [answer.choices[0].logprobs] if answer.choices[0].logprobs else []
        assert bool(given) == bool(tools)  # what is passed through reaches the client as it is
        one = (await generations(store))[-1]
        detail = (await gateway.client.get(f"/api/v1/traces/{one['traceId']}/spans/{one['id']}")).json()
        roots = await store.observations(isRootObservation="true", fields="io,metadata")
    kept = one["metadata"]["logprobs"]
    assert "".join(entry["token"] for entry in kept["content"]) == json.loads(one["output"])["content"]
    assert kept["tokens"] == len(kept["content"]) > 2
    assert kept["content"][0]["logprob"] == -0.6931
    assert kept["content"][0]["top_logprobs"] == [{"token": "other", "logprob": -0.6931}]
    assert detail["logprobs"] == kept
    assert "logprobs" not in detail["metadata"]
    assert "logprob" not in json.dumps([root["output"] for root in roots])


async def test_the_operator_can_ask_for_the_logprobs_of_everything(store: TraceStore) -> None:
    async with chatting(store.data, store.url, trace_logprobs=True) as gateway, asking(gateway) as client:
        create = client.chat.completions.create
        whole: Any = await create(model="general", messages=HELLO, tools=[TOOL])
        streamed: Any = await create(model="general", messages=HELLO, tools=[TOOL], stream=True)
        chunks = [chunk async for chunk in streamed]
        await gateway.chat("Hello")

        async def three() -> list[dict[str, Any]]:
            found = await generations(store)
            return found if len(found) == 3 else []

        found = await until(three)
    assert all(one["metadata"]["logprobs"]["content"] for one in found)
    # Clients that did not ask are told nothing of it.
    assert whole.choices[0].logprobs is None
    assert not any(c.choices and c.choices[0].logprobs for c in chunks)


async def test_nobody_asks_for_them_by_himself(store: TraceStore) -> None:
    async with chatting(store.data, store.url) as gateway:
        await gateway.chat("Hello")
        found = await generations(store)
        assert not any("logprobs" in request for request in gateway.model.requests)
    assert not any("logprobs" in one["metadata"] for one in found)
