"""OpenAI's Agents SDK on the server, over both of its APIs."""

import json
from collections.abc import AsyncIterator
from typing import Any, Literal

import openai
import pytest
from agents import (
    Agent,
    Model,
    ModelSettings,
    OpenAIChatCompletionsModel,
    OpenAIResponsesModel,
    Runner,
    function_tool,
    set_tracing_disabled,
)
from openai.types.responses import ResponseInputText, ResponseOutputText
from pydantic import BaseModel

from tests.llm_server.conformance.calls import Server

set_tracing_disabled(True)
CALL = 'call search {"query": "refund"}'


class Route(BaseModel):
    """Where a question goes."""

    target: Literal["documents", "database"]
    sure: bool


@function_tool
def search(query: str) -> str:
    """Finds documents."""
    return f"about {query}"


@pytest.fixture(params=["chat", "responses"])
async def model(server: Server, request: pytest.FixtureRequest) -> AsyncIterator[Model]:
    async with openai.AsyncOpenAI(base_url=server.base, api_key=server.key, max_retries=0) as client:
        kind: Any = OpenAIChatCompletionsModel if request.param == "chat" else OpenAIResponsesModel
        yield kind(model="echo", openai_client=client)


async def test_an_answer(model: Model) -> None:
    agent = Agent(name="a", instructions="be kind", model=model)
    result = await Runner.run(agent, "hello")
    assert result.final_output == "hello"
    assert result.context_wrapper.usage.output_tokens == len("hello") + 1


async def test_a_tool_is_called_and_its_answer_read(model: Model) -> None:
    agent = Agent(name="a", model=model, tools=[search])
    result = await Runner.run(agent, CALL)
    assert result.final_output == "about refund"
    assert [item.type for item in result.new_items] == [
        "tool_call_item",
        "tool_call_output_item",
        "message_output_item",
    ]


async def test_a_stream_with_a_tool(model: Model) -> None:
    result = Runner.run_streamed(Agent(name="a", model=model, tools=[search]), CALL)
    deltas = [
        event.data.delta
        async for event in result.stream_events()
        if event.type == "raw_response_event" and event.data.type == "response.output_text.delta"
    ]
    assert "".join(deltas) == "about refund"
    assert result.final_output == "about refund"


async def test_an_output_type_becomes_a_schema(model: Model) -> None:
    result = await Runner.run(Agent(name="a", model=model, output_type=Route), "where?")
    assert isinstance(result.final_output, Route)


async def test_settings_arrive(model: Model) -> None:
    settings = ModelSettings(
        temperature=0.1, top_p=0.9, max_tokens=30, metadata={"a": "b"}, store=False, parallel_tool_calls=False
    )
    result = await Runner.run(Agent(name="a", model=model, model_settings=settings), "hello")
    assert result.final_output == "hello"


async def test_a_handoff(model: Model) -> None:
    expert = Agent(name="expert", instructions="you know", model=model)
    front = Agent(name="front", model=model, handoffs=[expert])
    result = await Runner.run(front, "call transfer_to_expert {}")
    assert result.last_agent.name == "expert"


async def test_a_conversation_goes_on(model: Model) -> None:
    agent = Agent(name="a", model=model)
    first = await Runner.run(agent, "one")
    turn: Any = {"role": "user", "content": "two"}
    second = await Runner.run(agent, [*first.to_input_list(), turn])
    assert second.final_output == "two"
    assert json.dumps(second.to_input_list()).count("one") >= 2


async def test_the_server_keeps_the_conversation(server: Server) -> None:
    async with openai.AsyncOpenAI(base_url=server.base, api_key=server.key, max_retries=0) as client:
        agent = Agent(name="a", model=OpenAIResponsesModel(model="echo", openai_client=client))
        first = await Runner.run(agent, "one")
        second = await Runner.run(agent, "two", previous_response_id=first.last_response_id)
        items = await client.responses.input_items.list(second.last_response_id or "", order="asc")
        parts = [part for item in items.data if item.type == "message" for part in item.content]
        texts = [part.text for part in parts if isinstance(part, ResponseInputText | ResponseOutputText)]
        assert texts == ["one", "one", "two"]


async def test_errors_are_openais(server: Server) -> None:
    async with openai.AsyncOpenAI(base_url=server.base, api_key="wrong", max_retries=0) as client:
        agent = Agent(name="a", model=OpenAIResponsesModel(model="echo", openai_client=client))
        with pytest.raises(openai.AuthenticationError):
            await Runner.run(agent, "x")
