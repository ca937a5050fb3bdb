"""/v1 as the openai client sees it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import openai
import pytest
import pytest_asyncio
from openai import AsyncOpenAI

from tests.gateway.conftest import QUOTE
from tests.gateway.service import ADMIN_KEY, Gateway, until

USER = "user"


@pytest_asyncio.fixture(loop_scope="module")
async def client(full_gateway: Gateway) -> AsyncIterator[AsyncOpenAI]:
    async with AsyncOpenAI(base_url=f"{full_gateway.url}/v1", api_key=ADMIN_KEY, max_retries=0) as made:
        yield made


def said(text: str) -> Any:
    return [{"role": USER, "content": text}]


async def test_each_model_is_an_agent(client: AsyncOpenAI) -> None:
    assert [model.id async for model in client.models.list()] == ["general", "data-analyst", "documents"]
    assert (await client.models.retrieve("general")).id == "general"


async def test_a_completion_with_sources_and_usage(client: AsyncOpenAI) -> None:
    made = await client.chat.completions.create(model="general", messages=said("How much sick leave?"))
    assert made.choices[0].finish_reason == "stop"
    assert made.choices[0].message.content == f"{QUOTE}\n\n---\n**Sources**\n- [1] leave.md, Sick leave"
    assert made.usage is not None
    assert made.usage.total_tokens > 0
    extra = (made.model_extra or {})["loopyard"]
    assert [step["event"] for step in extra["steps"]][:3] == ["start", "route", "tool_call"]


async def test_a_stream_carries_text_activity_and_usage(client: AsyncOpenAI) -> None:
    stream = await client.chat.completions.create(
        model="general",
        messages=said("How many albums are there?"),
        stream=True,
        stream_options={"include_usage": True},
    )
    text, activity, usage = "", [], None
    async for chunk in stream:
        usage = chunk.usage or usage
        activity += [extra["event"] for extra in [(chunk.model_extra or {}).get("loopyard")] if extra]
        text += (chunk.choices[0].delta.content or "") if chunk.choices else ""
    assert text == "There are 3 albums."
    assert activity == ["start", "route", "tool_call", "tool_result", "sources"]
    assert usage is not None
    assert usage.prompt_tokens > 0


async def test_tools_of_the_client_are_passed_through_and_never_run(
    client: AsyncOpenAI, full_gateway: Gateway
) -> None:
    parameters = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
    tool: Any = {"type": "function", "function": {"name": "weather", "parameters": parameters}}
    made = await client.chat.completions.create(
        model="general", messages=said("Is it raining?"), tools=[tool]
    )
    (call,) = made.choices[0].message.tool_calls or []
    assert (call.function.name, call.function.arguments) == ("weather", '{"city": "Ghent"}')  # type: ignore[union-attr]  # a function call
    assert made.model == "general"
    stream = await client.chat.completions.create(
        model="general", messages=said("Is it raining?"), tools=[tool], stream=True
    )
    names = [
        call.function.name
        async for chunk in stream
        for call in (chunk.choices[0].delta.tool_calls or [] if chunk.choices else [])
        if call.function
    ]
    assert names == ["weather"]
    request = full_gateway.model.requests[-1]
    assert request["model"] == "loopyard-starter"
    assert request["messages"][0]["content"].startswith("You are Loopyard")


async def test_the_project_comes_from_the_model_name_or_a_header(
    client: AsyncOpenAI, full_gateway: Gateway
) -> None:
    await full_gateway.client.post("/api/v1/projects", json={"name": "handbook"})
    await client.chat.completions.create(model="general@handbook", messages=said("Hello"))
    await client.chat.completions.create(
        model="general", messages=said("Hello"), extra_headers={"X-Project": "handbook"}
    )
    listed = (await full_gateway.client.get("/api/v1/projects/handbook/conversations")).json()["items"]
    assert len(listed) == 2


async def test_a_client_that_keeps_its_history_stays_in_one_conversation(
    client: AsyncOpenAI, full_gateway: Gateway
) -> None:
    first = said("How much sick leave?")
    answer = (
        (await client.chat.completions.create(model="general", messages=first)).choices[0].message.content
    )
    messages: Any = [*first, {"role": "assistant", "content": answer}, *said("Thanks")]
    await client.chat.completions.create(model="general", messages=messages)
    (item,) = (await full_gateway.client.get("/api/v1/projects/demo/conversations")).json()["items"]
    found = await full_gateway.client.get(f"/api/v1/projects/demo/conversations/{item['id']}")
    assert [m["content"] for m in found.json()["messages"]][::2] == ["How much sick leave?", "Thanks"]
    # The footer is for people; the model gets its answer as it gave it.
    assert full_gateway.model.requests[-1]["messages"][2]["content"] == QUOTE


async def test_the_clients_system_message_joins_the_persona(
    client: AsyncOpenAI, full_gateway: Gateway
) -> None:
    messages: Any = [{"role": "system", "content": "Answer in French."}, *said("Hello")]
    await client.chat.completions.create(model="general", messages=messages, temperature=0.3, seed=4)
    request = full_gateway.model.requests[-1]
    assert request["messages"][0]["content"].endswith("Answer in French.")
    assert (request["temperature"], request["seed"]) == (0.3, 4)


async def test_typed_errors(client: AsyncOpenAI, full_gateway: Gateway) -> None:
    create = client.chat.completions.create
    with pytest.raises(openai.NotFoundError, match="data-analyst"):
        await create(model="nobody", messages=said("Hi"))
    with pytest.raises(openai.NotFoundError, match="demo"):
        await create(model="general@nowhere", messages=said("Hi"))
    with pytest.raises(openai.UnprocessableEntityError, match="n must be 1"):
        await create(model="general", messages=said("Hi"), n=2)
    with pytest.raises(openai.BadRequestError, match="context") as caught:
        await create(model="general", messages=said("word " * 10_000))
    assert caught.value.code == "context_length_exceeded"
    picture: Any = [{"role": USER, "content": [{"type": "image_url", "image_url": {"url": "data:"}}]}]
    with pytest.raises(openai.BadRequestError, match="image_url"):
        await create(model="general", messages=picture)
    with pytest.raises(openai.InternalServerError, match="Try again"):
        await create(model="general", messages=said("Please break off"))
    async with AsyncOpenAI(
        base_url=f"{full_gateway.url}/v1", api_key="ly_x_wrong", max_retries=0
    ) as stranger:
        with pytest.raises(openai.AuthenticationError):
            await stranger.models.list()


async def test_an_error_in_mid_stream_is_raised_by_the_client(client: AsyncOpenAI) -> None:
    stream = await client.chat.completions.create(
        model="general", messages=said("Please break off"), stream=True
    )
    with pytest.raises(openai.APIError, match="Try again"):
        async for _ in stream:
            pass


@pytest.mark.parametrize("stream", [True, False])
async def test_a_client_that_goes_away_frees_the_model(
    client: AsyncOpenAI, full_gateway: Gateway, stream: bool
) -> None:
    async def ask() -> None:
        create = client.chat.completions.create
        if not stream:
            await create(model="general", messages=said("Be slow"))
            return
        async for _ in await create(model="general", messages=said("Be slow"), stream=True):
            pass

    task = asyncio.create_task(ask())

    async def streaming() -> bool:
        return any(request.get("stream") for request in full_gateway.model.requests)

    await until(streaming)
    task.cancel()
    async with asyncio.timeout(5):
        await full_gateway.model.gone.wait()
    await asyncio.gather(task, return_exceptions=True)
