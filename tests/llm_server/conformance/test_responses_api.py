"""Responses as openai-python sends and reads them."""

import json
from typing import Any, Literal

import pytest
from pydantic import BaseModel

from tests.llm_server.conformance.calls import Calls

CREATE = "responses.create"
SEARCH: Any = {
    "type": "function",
    "name": "search",
    "description": "Finds documents.",
    "strict": True,
    "parameters": {
        "type": "object",
        "properties": {"query": {"type": "string"}},
        "required": ["query"],
        "additionalProperties": False,
    },
}
CALL = 'call search {"query": "refund"}'


@pytest.mark.parametrize(
    "given",
    [
        "hello",
        [{"role": "user", "content": "hello"}],
        [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hello"}]}],
        [{"role": "system", "content": "be kind"}, {"role": "user", "content": "hello"}],
        [{"role": "developer", "content": "be kind"}, {"role": "user", "content": "hello"}],
        [
            {"role": "user", "content": "a"},
            {"role": "assistant", "content": [{"type": "output_text", "text": "b"}]},
            {"role": "user", "content": "hello"},
        ],
    ],
    ids=["text", "message", "parts", "system", "developer", "turns"],
)
def test_input_in_every_form(calls: Calls, given: Any) -> None:
    answer = calls.do(CREATE, model="echo", input=given, instructions="be brief")
    assert answer.output_text == "hello"
    assert (answer.object, answer.status, answer.model) == ("response", "completed", "echo")
    assert answer.instructions == "be brief"
    assert answer.output[0].role == "assistant"


def test_a_stream_ends_with_the_whole(calls: Calls) -> None:
    events = calls.do(CREATE, model="echo", input="hello", stream=True)
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert "".join(e.delta for e in events if e.type == "response.output_text.delta") == "hello"
    assert events[0].type == "response.created"
    assert events[-1].type == "response.completed"
    assert events[-1].response.output_text == "hello"


@pytest.mark.parametrize("stream", [False, True])
def test_a_function_call(calls: Calls, stream: bool) -> None:
    result = calls.do(CREATE, model="echo", input=CALL, tools=[SEARCH], stream=stream)
    answer = result[-1].response if stream else result
    call = answer.output[0]
    assert (call.type, call.name, call.status) == ("function_call", "search", "completed")
    assert json.loads(call.arguments) == {"query": "refund"}
    output = {"type": "function_call_output", "call_id": call.call_id, "output": "ten days"}
    second = calls.do(CREATE, model="echo", input=[output], previous_response_id=answer.id, tools=[SEARCH])
    assert second.output_text == "ten days"
    again = [{"role": "user", "content": CALL}, *answer.output, output]
    assert calls.do(CREATE, model="echo", input=again, store=False).output_text == "ten days"


@pytest.mark.parametrize("choice", ["required", {"type": "function", "name": "search"}], ids=["any", "named"])
def test_a_forced_call(calls: Calls, choice: Any) -> None:
    answer = calls.do(
        CREATE, model="echo", input="x", tools=[SEARCH], tool_choice=choice, parallel_tool_calls=False
    )
    assert [item.name for item in answer.output if item.type == "function_call"] == ["search"]


def test_no_call_where_none_is_wanted(calls: Calls) -> None:
    answer = calls.do(CREATE, model="echo", input=CALL, tools=[SEARCH], tool_choice="none")
    assert [item.type for item in answer.output] == ["message"]


class Route(BaseModel):
    """Where a question goes."""

    target: Literal["documents", "database"]
    sure: bool


@pytest.mark.parametrize("model", ["echo", "tiny"])
def test_a_schema_is_kept(calls: Calls, model: str) -> None:
    answer = calls.do("responses.parse", model=model, input="where?", text_format=Route)
    assert isinstance(answer.output_parsed, Route)


def test_json_is_json(calls: Calls) -> None:
    form = {"format": {"type": "json_object"}}
    answer = calls.do(CREATE, model="tiny", input="x", text=form, max_output_tokens=40)
    assert answer.output_text.startswith("{")


def test_a_limit_leaves_it_incomplete(calls: Calls) -> None:
    answer = calls.do(CREATE, model="tiny", input="x", max_output_tokens=3, extra_body={"ignore_eos": True})
    assert (answer.status, answer.incomplete_details.reason) == ("incomplete", "max_output_tokens")
    assert answer.usage.output_tokens == 3


def test_thoughts_are_an_item(calls: Calls) -> None:
    answer = calls.do(CREATE, model="echo", input="<think>hm</think>twelve")
    assert [item.type for item in answer.output] == ["reasoning", "message"]
    assert answer.output[0].content[0].text == "hm"
    assert answer.output_text == "twelve"


@pytest.mark.parametrize(
    "fields",
    [
        {"metadata": {"a": "b"}},
        {"temperature": 0.5},
        {"top_p": 0.5},
        {"user": "ann"},
        {"truncation": "auto"},
        {"reasoning": {"effort": "low"}},
        {"include": ["reasoning.encrypted_content"]},
        {"prompt_cache_key": "k"},
        {"service_tier": "auto"},
        {"safety_identifier": "x"},
        {"max_tool_calls": 3},
        {"text": {"verbosity": "low"}},
        {"extra_body": {"unheard_of": 1, "tools": None}},
    ],
    ids=lambda fields: "+".join(fields),
)
def test_fields_are_taken_and_shown_again(calls: Calls, fields: dict[str, Any]) -> None:
    answer = calls.do(CREATE, model="echo", input="hello", **fields)
    assert answer.output_text == "hello"
    for name in ("metadata", "temperature", "top_p", "user", "truncation"):
        if name in fields:
            assert getattr(answer, name) == fields[name]


def test_what_is_stored_can_be_fetched_and_deleted(calls: Calls) -> None:
    made = calls.do(CREATE, model="echo", input="hello")
    assert calls.do("responses.retrieve", made.id).output_text == "hello"
    items = calls.do("responses.input_items.list", made.id)
    assert [item.content[0].text for item in items] == ["hello"]
    calls.do("responses.delete", made.id)
    with pytest.raises(Exception, match="no response"):
        calls.do("responses.retrieve", made.id)


def test_items_of_a_long_conversation_come_in_pages(calls: Calls) -> None:
    turns = [{"role": "user", "content": f"turn {i}"} for i in range(25)]
    made = calls.do(CREATE, model="echo", input=turns)
    items = calls.do("responses.input_items.list", made.id, order="asc", limit=10)
    assert [item.content[0].text for item in items] == [f"turn {i}" for i in range(25)]


def test_tokens_are_counted(calls: Calls) -> None:
    count = calls.do("responses.input_tokens.count", model="echo", input="hello", tools=[SEARCH])
    assert (
        count.input_tokens == calls.do(CREATE, model="echo", input="hello", tools=[SEARCH]).usage.input_tokens
    )
