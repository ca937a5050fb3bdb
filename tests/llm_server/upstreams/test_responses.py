"""/v1/responses of a model that another server computes, which is asked for chats."""

import json
from collections.abc import Callable
from typing import Any

import openai
import pytest
from agents import Agent, OpenAIResponsesModel, Runner, function_tool, set_tracing_disabled

from tests.llm_server.upstreams.scripted import Scripted, scripted
from tests.llm_server.upstreams.test_forward import far

set_tracing_disabled(True)
CALL = 'call search {"query": "refund"}'
SEARCH: Any = {
    "type": "function",
    "name": "search",
    "strict": True,
    "parameters": {"type": "object", "properties": {"query": {"type": "string"}}, "required": ["query"]},
}


@function_tool
def search(query: str) -> str:
    """Finds documents."""
    return f"about {query}"


def there(url: str) -> dict[str, Any]:
    return far({"url": url, "key_env": "OTHER_KEY", "model": "echo"}, retries=0)


def client_of(server: Any) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{server.http.base_url}/v1", api_key="none", max_retries=0)


def test_a_whole_response_is_kept_and_gone_on_with(front: Callable[..., Any], other: str) -> None:
    with front(there(other)) as server, client_of(server) as client:
        first = client.responses.create(model="far", input="hello there", metadata={"a": "b"})
        assert (first.output_text, first.status, first.model) == ("hello there", "completed", "echo")
        assert first.metadata == {"a": "b"}
        assert first.usage is not None
        assert first.usage.output_tokens == len("hello there") + 1
        assert client.responses.retrieve(first.id).output_text == "hello there"
        second = client.responses.create(model="far", input="and then", previous_response_id=first.id)
        assert second.output_text == "and then"
        assert second.usage is not None
        assert second.usage.input_tokens > first.usage.input_tokens, "the turn before was sent along"
        cut = client.responses.create(model="far", input="hello there", max_output_tokens=3)
        assert (cut.status, cut.output_text) == ("incomplete", "hel")


def test_the_events_of_a_stream_are_those_of_a_model_here(front: Callable[..., Any], other: str) -> None:
    with front(there(other), {"id": "near", "engine": "echo"}) as server, client_of(server) as client:
        kinds = {}
        for model in ("far", "near"):
            events = list(client.responses.create(model=model, input="hi you", stream=True))
            assert [event.sequence_number for event in events] == list(range(len(events)))
            assert "".join(e.delta for e in events if e.type == "response.output_text.delta") == "hi you"
            last = events[-1]
            assert last.type == "response.completed"
            assert last.response.output_text == "hi you"
            kinds[model] = list(dict.fromkeys(event.type for event in events))
        assert kinds["far"] == kinds["near"]


def test_a_tool_is_called_and_its_output_read(front: Callable[..., Any], other: str) -> None:
    with front(there(other)) as server, client_of(server) as client:
        asked = client.responses.create(model="far", input=CALL, tools=[SEARCH])
        (call,) = asked.output
        assert call.type == "function_call"
        assert (call.name, json.loads(call.arguments)) == ("search", {"query": "refund"})
        output: Any = {"type": "function_call_output", "call_id": call.call_id, "output": "about refund"}
        done = client.responses.create(
            model="far", input=[output], tools=[SEARCH], previous_response_id=asked.id
        )
        assert done.output_text == "about refund"


@pytest.mark.parametrize("streamed", [False, True])
async def test_the_agents_sdk_by_its_default_api(
    front: Callable[..., Any], other: str, streamed: bool
) -> None:
    with front(there(other)) as server:
        url = f"{server.http.base_url}/v1"
        async with openai.AsyncOpenAI(base_url=url, api_key="none", max_retries=0) as client:
            model = OpenAIResponsesModel(model="far", openai_client=client)
            agent = Agent(name="a", instructions="be kind", model=model, tools=[search])
            if streamed:
                running = Runner.run_streamed(agent, CALL)
                async for _ in running.stream_events():
                    pass
                assert running.final_output == "about refund"
            else:
                assert (await Runner.run(agent, CALL)).final_output == "about refund"


def _delta(finish: str | None = None, **delta: Any) -> dict[str, Any]:
    return {"model": "m-2026", "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}


def _call(name: str, arguments: str, known: str) -> dict[str, Any]:
    return {"index": 0, "id": known, "function": {"name": name, "arguments": arguments}}


def test_thoughts_and_calls_that_are_not_numbered(front: Callable[..., Any]) -> None:
    said = [
        _delta(reasoning_content="let me "),
        _delta(reasoning_content="see"),
        _delta(tool_calls=[_call("search", '{"query": "a"}', "call_a")]),
        _delta(tool_calls=[_call("search", '{"query": "b"}', "call_b")]),
        _delta("tool_calls"),
    ]
    with scripted(says=said) as far_away, front(there(far_away.url)) as server, client_of(server) as client:
        answer = client.responses.create(model="far", input="x", tools=[SEARCH])
        assert [item.type for item in answer.output] == ["reasoning", "function_call", "function_call"]
        assert answer.output[0].to_dict()["content"] == [{"type": "reasoning_text", "text": "let me see"}]
        calls = [item.to_dict() for item in answer.output[1:]]
        assert [call["call_id"] for call in calls] == ["call_a", "call_b"]
        assert [call["arguments"] for call in calls] == ['{"query": "a"}', '{"query": "b"}']
        assert (answer.model, answer.usage) == ("m-2026", None)


def test_what_the_other_server_is_asked(front: Callable[..., Any]) -> None:
    """The words that OpenAI-compatible servers have in common, and no others."""
    with (
        scripted(says=[_delta(content="ok"), _delta("stop")]) as far_away,
        front(there(far_away.url)) as server,
        client_of(server) as client,
    ):
        history: Any = [
            {"role": "developer", "content": "be brief"},
            {"role": "user", "content": [{"type": "input_image", "image_url": "data:image/png;base64,AA"}]},
        ]
        client.responses.create(model="far", input=history, max_output_tokens=9, user="ann")
        schema: Any = {"type": "json_schema", "name": "n", "schema": {"type": "object"}, "strict": True}
        client.responses.create(
            model="far",
            input="x",
            tools=[SEARCH],
            tool_choice={"type": "function", "name": "search"},
            parallel_tool_calls=False,
            text={"format": schema},
        )
    plain, rich = far_away.asked
    assert plain == {
        "model": "echo",
        "messages": [
            {"role": "system", "content": "be brief"},
            {
                "role": "user",
                "content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AA"}}],
            },
        ],
        "max_completion_tokens": 9,
        "stream": True,
        "stream_options": {"include_usage": True},
        "user": "ann",
    }
    assert rich["tool_choice"] == {"type": "function", "function": {"name": "search"}}
    assert rich["parallel_tool_calls"] is False
    assert rich["tools"][0]["function"]["strict"] is True
    assert rich["response_format"] == {
        "type": "json_schema",
        "json_schema": {"name": "n", "schema": {"type": "object"}, "strict": True},
    }


def test_errors_keep_their_status_or_end_the_stream(front: Callable[..., Any], other: str) -> None:
    def refused(far_away: Scripted, kind: type[openai.APIStatusError]) -> str:
        with front(there(far_away.url)) as server, client_of(server) as client:
            with pytest.raises(kind) as error:
                client.responses.create(model="far", input="x")
            return error.value.message

    with scripted(status=401) as far_away:
        assert "status 401" in refused(far_away, openai.AuthenticationError)
    with scripted(says=[{"error": {"message": "out of order"}}]) as far_away:
        assert "out of order" in refused(far_away, openai.InternalServerError)
    with scripted(says=[_delta(content="half")]) as far_away, front(there(far_away.url)) as server:
        with client_of(server) as client:
            events = list(client.responses.create(model="far", input="x", stream=True))
        assert events[-1].type == "response.failed"
        assert "broke off" in str(events[-1].response.error)


def test_a_model_here_stands_in(front: Callable[..., Any]) -> None:
    near = {"id": "near", "engine": "echo"}
    with scripted(status=503) as far_away:
        entry = {**there(far_away.url), "fallbacks": ["near"]}
        with front(entry, near) as server, client_of(server) as client:
            answer = client.responses.create(model="far", input="hello there")
            assert (answer.model, answer.output_text) == ("near", "hello there")
