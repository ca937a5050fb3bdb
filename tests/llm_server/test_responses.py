"""/v1/responses through the openai client: the echo for what is said, the tiny model for what is cut."""

import json
from typing import Any, Literal

import httpx
import openai
import pytest
from openai.types.responses import (
    ResponseFunctionToolCall,
    ResponseInputText,
    ResponseOutputMessage,
    ResponseOutputText,
)
from pydantic import BaseModel

from tests.llm_server.conftest import ADMIN, USER

SEARCH: Any = {
    "type": "function",
    "name": "search",
    "parameters": {
        "type": "object",
        "properties": {"query": {"type": "string"}},
        "required": ["query"],
    },
}
CALL = 'call search {"query": "refund"}'


def test_text_in_text_out(echo: openai.OpenAI) -> None:
    answer = echo.responses.create(model="echo", input="hello there", metadata={"a": "b"})
    assert answer.output_text == "hello there"
    assert (answer.status, answer.error, answer.incomplete_details) == ("completed", None, None)
    assert answer.metadata == {"a": "b"}
    assert answer.usage is not None
    assert answer.usage.output_tokens == len("hello there") + 1
    assert answer.usage.total_tokens == answer.usage.input_tokens + answer.usage.output_tokens


def test_the_events_of_a_text_in_order(echo: openai.OpenAI) -> None:
    events = list(echo.responses.create(model="echo", input="hi you", stream=True))
    kinds = [event.type for event in events]
    start = ["response.created", "response.in_progress", "response.output_item.added"]
    end = ["response.output_text.done", "response.content_part.done", "response.output_item.done"]
    assert kinds[:4] == [*start, "response.content_part.added"]
    assert kinds[-4:] == [*end, "response.completed"]
    assert set(kinds[4:-4]) == {"response.output_text.delta"}
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert "".join(e.delta for e in events if e.type == "response.output_text.delta") == "hi you"
    last = events[-1]
    assert last.type == "response.completed"
    assert last.response.output_text == "hi you"
    first = events[0]
    assert first.type == "response.created"
    assert (first.response.status, first.response.output) == ("in_progress", [])
    assert first.response.id == last.response.id


def test_events_are_named_and_nothing_follows_the_last(echo_url: str) -> None:
    answer = httpx.post(
        f"{echo_url}/v1/responses",
        json={"model": "echo", "input": "x", "stream": True},
        headers={"authorization": f"Bearer {USER}"},
    )
    blocks = [block.split("\n") for block in answer.text.strip().split("\n\n")]
    for name, data in blocks:
        assert name == f"event: {json.loads(data.removeprefix('data: '))['type']}"
    assert blocks[-1][0] == "event: response.completed"


def test_the_clients_own_accumulator_agrees(echo: openai.OpenAI) -> None:
    with echo.responses.stream(model="echo", input=CALL, tools=[SEARCH]) as stream:
        kinds = [event.type for event in stream]
        final = stream.get_final_response()
    assert "response.function_call_arguments.delta" in kinds
    assert kinds.index("response.function_call_arguments.done") < kinds.index("response.output_item.done")
    call = final.output[0]
    assert call.type == "function_call"
    assert json.loads(call.arguments) == {"query": "refund"}


def test_a_call_and_its_output_as_items(echo: openai.OpenAI) -> None:
    first = echo.responses.create(model="echo", input=CALL, tools=[SEARCH])
    call = first.output[0]
    assert isinstance(call, ResponseFunctionToolCall)
    assert (call.name, call.status, first.output_text) == ("search", "completed", "")
    output: Any = {"type": "function_call_output", "call_id": call.call_id, "output": "ten days"}
    items: Any = [{"role": "user", "content": CALL}, *first.output, output]
    second = echo.responses.create(model="echo", input=items, tools=[SEARCH])
    assert second.output_text == "ten days"
    shorter = echo.responses.create(model="echo", previous_response_id=first.id, input=[output])
    assert shorter.output_text == "ten days"


def test_a_conversation_by_reference(echo: openai.OpenAI) -> None:
    first = echo.responses.create(model="echo", input="one", instructions="be brief")
    second = echo.responses.create(model="echo", input="two", previous_response_id=first.id)
    assert second.previous_response_id == first.id
    items = echo.responses.input_items.list(second.id, order="asc").data
    parts = [part for item in items if item.type == "message" for part in item.content]
    texts = [part.text for part in parts if isinstance(part, ResponseInputText | ResponseOutputText)]
    assert texts == ["one", "one", "two"]
    assert second.instructions is None
    page = echo.responses.input_items.list(second.id, limit=2)
    assert [item.id for item in page.data] == [items[2].id, items[1].id]
    rest = echo.responses.input_items.list(second.id, limit=2, after=items[1].id or "")
    assert [item.id for item in rest.data] == [items[0].id]
    assert not rest.has_next_page()


def test_stored_fetched_deleted(echo: openai.OpenAI, echo_url: str) -> None:
    made = echo.responses.create(model="echo", input="keep me")
    assert echo.responses.retrieve(made.id).output_text == "keep me"
    with openai.OpenAI(base_url=f"{echo_url}/v1", api_key=ADMIN, max_retries=0) as other:
        with pytest.raises(openai.NotFoundError):
            other.responses.retrieve(made.id)
        with pytest.raises(openai.NotFoundError):
            other.responses.delete(made.id)
    echo.responses.delete(made.id)
    with pytest.raises(openai.NotFoundError) as gone:
        echo.responses.retrieve(made.id)
    assert gone.value.code == "response_not_found"


def test_a_stream_is_stored_and_what_is_not_to_be_stored_is_not(echo: openai.OpenAI) -> None:
    events = list(echo.responses.create(model="echo", input="x", stream=True))
    last = events[-1]
    assert last.type == "response.completed"
    assert echo.responses.retrieve(last.response.id).output_text == "x"
    not_kept = echo.responses.create(model="echo", input="x", store=False)
    with pytest.raises(openai.NotFoundError):
        echo.responses.retrieve(not_kept.id)
    with pytest.raises(openai.NotFoundError) as refused:
        echo.responses.create(model="echo", input="x", previous_response_id=not_kept.id)
    assert refused.value.param == "previous_response_id"


def test_a_cut_answer_is_incomplete(client: openai.OpenAI) -> None:
    events = list(
        client.responses.create(
            model="tiny-f16",
            input="go on",
            max_output_tokens=4,
            stream=True,
            store=False,
            extra_body={"ignore_eos": True},
        )
    )
    last = events[-1]
    assert last.type == "response.incomplete"
    assert last.response.status == "incomplete"
    assert last.response.incomplete_details is not None
    assert last.response.incomplete_details.reason == "max_output_tokens"
    message = last.response.output[0]
    assert isinstance(message, ResponseOutputMessage)
    assert message.status == "incomplete"


class Route(BaseModel):
    """Where a question goes."""

    target: Literal["documents", "database"]
    sure: bool


def test_a_schema_shapes_the_text(client: openai.OpenAI, echo: openai.OpenAI) -> None:
    parsed = client.responses.parse(
        model="tiny-f16", input="where?", text_format=Route, temperature=0, max_output_tokens=200
    )
    assert isinstance(parsed.output_parsed, Route)
    example = echo.responses.parse(model="echo", input="where?", text_format=Route)
    assert isinstance(example.output_parsed, Route)
    assert example.text is not None
    assert example.text.format is not None
    assert example.text.format.type == "json_schema"
    free = client.responses.create(
        model="tiny-f16",
        input="json",
        text={"format": {"type": "json_object"}},
        max_output_tokens=60,
    )
    assert free.output_text.startswith("{")


def test_log_probabilities_on_demand(client: openai.OpenAI) -> None:
    answer = client.responses.create(
        model="tiny-f16",
        input="hi",
        max_output_tokens=8,
        include=["message.output_text.logprobs"],
        top_logprobs=2,
    )
    message = answer.output[0]
    assert isinstance(message, ResponseOutputMessage)
    part = message.content[0]
    assert part.type == "output_text"
    assert part.logprobs
    assert all(len(score.top_logprobs) == 2 for score in part.logprobs)


def test_named_and_allowed_tools(echo: openai.OpenAI, client: openai.OpenAI) -> None:
    other: Any = {**SEARCH, "name": "other"}
    named = client.responses.create(
        model="tiny-f16",
        input="x",
        tools=[SEARCH, other],
        tool_choice={"type": "function", "name": "other"},
        max_output_tokens=300,
        parallel_tool_calls=False,
    )
    assert [item.name for item in named.output if item.type == "function_call"] == ["other"]
    allowed: Any = {
        "type": "allowed_tools",
        "mode": "auto",
        "tools": [{"type": "function", "name": "search"}],
    }
    free = echo.responses.create(model="echo", input="no call", tools=[SEARCH, other], tool_choice=allowed)
    assert free.output_text == "no call"


def test_tokens_are_counted_without_an_answer(echo: openai.OpenAI) -> None:
    count = echo.responses.input_tokens.count(model="echo", input="hello", instructions="be kind")
    answer = echo.responses.create(model="echo", input="hello", instructions="be kind")
    assert answer.usage is not None
    assert count.input_tokens == answer.usage.input_tokens


def test_old_messages_give_way_where_it_is_allowed(echo: openai.OpenAI) -> None:
    items: Any = [
        {"role": "user", "content": "x" * 3000},
        {"role": "assistant", "content": "y" * 1200},
        {"role": "user", "content": "the last one"},
    ]
    with pytest.raises(openai.BadRequestError) as refused:
        echo.responses.create(model="echo", input=items)
    assert refused.value.code == "context_length_exceeded"
    assert echo.responses.create(model="echo", input=items, truncation="auto").output_text == "the last one"
    with pytest.raises(openai.BadRequestError):
        echo.responses.create(model="echo", input="x" * 5000, truncation="auto")


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"input": [{"type": "item_reference", "id": "x"}]}, "input"),
        ({"input": [{"role": "wizard", "content": "x"}]}, "input.0.role"),
        ({"input": [{"role": "user", "content": [{"type": "input_image", "image_url": "x"}]}]}, "messages"),
        ({"input": []}, "input"),
        ({"input": "x", "tools": [{"type": "web_search"}]}, "tools"),
        ({"input": "x", "tools": [{"type": "function", "name": "a b"}]}, "tools.0.function.name"),
        ({"input": "x", "background": True}, "background"),
        ({"input": "x", "conversation": "conv_1"}, "conversation"),
        ({"input": "x", "temperature": 9}, "temperature"),
        ({"input": "x", "text": {"format": {"type": "json_schema"}}}, "response_format"),
        ({"input": "x", "tool_choice": "required"}, "tool_choice"),
    ],
)
def test_what_is_wrong_names_the_field(echo_url: str, body: dict[str, Any], param: str) -> None:
    answer = httpx.post(
        f"{echo_url}/v1/responses",
        json={"model": "echo", **body},
        headers={"authorization": f"Bearer {USER}"},
    )
    assert answer.status_code == 400, answer.text
    assert answer.json()["error"]["param"] == param


def test_null_and_unknown_fields_change_nothing(echo_url: str) -> None:
    body = {"model": "echo", "input": "x", "tools": None, "text": None, "include": None, "novel": {"a": 1}}
    answer = httpx.post(
        f"{echo_url}/v1/responses", json=body, headers={"authorization": f"Bearer {USER}"}
    ).json()
    assert answer["output"][0]["content"][0]["text"] == "x"
    assert answer["text"] == {"format": {"type": "text"}}


def test_several_items_of_one_turn_become_one_message(echo: openai.OpenAI) -> None:
    items: Any = [
        {"role": "user", "content": "look"},
        {"type": "reasoning", "summary": [], "content": [{"type": "reasoning_text", "text": "hm"}]},
        {"role": "assistant", "content": [{"type": "output_text", "text": "I look."}]},
        {"type": "function_call", "call_id": "c1", "name": "search", "arguments": "{}"},
        {"type": "function_call", "call_id": "c2", "name": "search", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c1", "output": [{"type": "input_text", "text": "one"}]},
        {"type": "function_call_output", "call_id": "c2", "output": "two"},
    ]
    assert echo.responses.create(model="echo", input=items).output_text == "two"
