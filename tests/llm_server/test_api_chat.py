"""Chat through the openai client: the tiny model for what sampling does, the echo for what is said."""

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import jsonschema
import openai
import pytest

MODEL = "tiny-f16"
PARAMETERS = {
    "type": "object",
    "properties": {
        "query": {"type": "string", "x-span": True},
        "kind": {"enum": ["bar", "line"]},
        "n": {"type": "integer", "minimum": 1, "maximum": 20},
        "where": {"type": "object", "properties": {"a": {"type": "boolean"}}, "required": ["a"]},
    },
    "required": ["query", "kind"],
}
TOOLS: Any = [
    {"type": "function", "function": {"name": "search", "parameters": PARAMETERS}},
    {
        "type": "function",
        "function": {"name": "list_all", "parameters": {"type": "object", "properties": {}}},
    },
]
ASK: Any = [{"role": "user", "content": "find the refund policy"}]


def test_an_answer_with_its_usage(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(model=MODEL, messages=ASK, max_tokens=5)
    assert answer.choices[0].finish_reason in {"length", "stop"}
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 5
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + 5


def test_a_stream_says_the_same(client: openai.OpenAI) -> None:
    whole = client.chat.completions.create(model=MODEL, messages=ASK, max_completion_tokens=20)
    chunks = list(
        client.chat.completions.create(
            model=MODEL, messages=ASK, max_tokens=20, stream=True, stream_options={"include_usage": True}
        )
    )
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == whole.choices[0].message.content
    assert chunks[-1].choices == []
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == 20
    assert chunks[-2].choices[0].finish_reason == "length"


@pytest.mark.parametrize("seed", range(6))
def test_a_forced_call_of_a_random_model_fits_its_schema(client: openai.OpenAI, seed: int) -> None:
    answer = client.chat.completions.create(
        model=MODEL,
        messages=ASK,
        tools=TOOLS,
        tool_choice="required",
        seed=seed,
        temperature=2,
        max_tokens=700,
    )
    calls = answer.choices[0].message.tool_calls
    assert calls
    complete = calls if answer.choices[0].finish_reason == "tool_calls" else calls[:-1]
    for call in complete:
        assert call.type == "function"
        arguments = json.loads(call.function.arguments)
        if call.function.name == "search":
            jsonschema.Draft202012Validator(PARAMETERS).validate(arguments)
            assert arguments["query"] in ASK[0]["content"]
        else:
            assert arguments == {}


def test_a_named_tool_is_the_one_called_in_a_stream(client: openai.OpenAI) -> None:
    chunks = list(
        client.chat.completions.create(
            model=MODEL,
            messages=ASK,
            tools=TOOLS,
            tool_choice={"type": "function", "function": {"name": "search"}},
            stream=True,
            max_tokens=400,
        )
    )
    deltas = [call for chunk in chunks for call in chunk.choices[0].delta.tool_calls or ()]
    assert deltas[0].function is not None
    assert (deltas[0].index, deltas[0].type, deltas[0].function.name) == (0, "function", "search")
    assert deltas[0].id
    assert all(delta.id is None and delta.function and delta.function.name is None for delta in deltas[1:])
    arguments = "".join((delta.function and delta.function.arguments) or "" for delta in deltas)
    jsonschema.Draft202012Validator(PARAMETERS).validate(json.loads(arguments))
    assert chunks[-1].choices[0].finish_reason == "tool_calls"
    assert not any(chunk.choices[0].delta.content for chunk in chunks)


def test_a_schema_shapes_the_answer(client: openai.OpenAI) -> None:
    route = {"enum": ["documents", "database"]}
    schema = {"type": "object", "properties": {"route": route}, "required": ["route"]}
    form: Any = {"type": "json_schema", "json_schema": {"name": "route", "schema": schema}}
    answer = client.chat.completions.create(
        model=MODEL,
        messages=ASK,
        response_format=form,
    )
    assert json.loads(answer.choices[0].message.content or "")["route"] in {"documents", "database"}
    assert answer.choices[0].finish_reason == "stop"


def test_quotations_are_grounded(client: openai.OpenAI) -> None:
    passage = "[1] a.md > B\nStaff get ten days a year."
    messages: Any = [*ASK, {"role": "tool", "tool_call_id": "x", "content": passage}]
    for seed in range(4):
        answer = client.chat.completions.create(
            model=MODEL,
            messages=messages,
            temperature=2,
            seed=seed,
            max_tokens=60,
            logit_bias={"1": 2},
            extra_body={"grounding": "quotes"},
        )
        pieces = (answer.choices[0].message.content or "").split('"')
        assert all("Staff get ten days a year.".startswith(quoted) for quoted in pieces[1::2])


def test_a_text_shows_no_mark_that_ends_a_call(client: openai.OpenAI) -> None:
    ids = client.post(
        "/tokenize",
        body={"model": MODEL, "prompt": "</tool_call>", "parse_special": True},
        cast_to=httpx.Response,
    )
    wanted = {str(token): 100 for token in ids.json()["tokens"]}
    answer = client.chat.completions.create(
        model=MODEL, messages=ASK, tools=TOOLS, logit_bias=wanted, max_tokens=8, temperature=0
    )
    assert "</tool_call>" not in (answer.choices[0].message.content or "")


def test_several_choices_with_log_probabilities(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(
        model=MODEL, messages=ASK, n=3, temperature=1.5, seed=5, logprobs=True, top_logprobs=2, max_tokens=4
    )
    assert len({choice.message.content for choice in answer.choices}) > 1
    for choice in answer.choices:
        assert choice.logprobs is not None
        assert choice.logprobs.content is not None
        assert len(choice.logprobs.content) == 4
        assert all(len(token.top_logprobs) == 2 for token in choice.logprobs.content)


def test_eight_streams_at_once_all_finish(client: openai.OpenAI) -> None:
    def ask(n: int) -> int:
        stream = client.chat.completions.create(
            model=MODEL,
            messages=[{"role": "user", "content": f"question {n} " * 10}],
            stream=True,
            max_tokens=40,
            temperature=1,
            seed=n,
        )
        return sum(1 for chunk in stream if chunk.choices[0].finish_reason)

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(ask, range(8))) == [1] * 8


def test_the_second_turn_reuses_the_first(client: openai.OpenAI) -> None:
    first: Any = [{"role": "user", "content": "tell me everything about the number 12345 " * 4}]
    answer = client.chat.completions.create(model=MODEL, messages=first, max_tokens=3)
    second = [*first, {"role": "assistant", "content": answer.choices[0].message.content}, *ASK]
    again = client.chat.completions.create(model=MODEL, messages=second, max_tokens=3)
    assert answer.usage is not None
    assert again.usage is not None
    assert again.usage.prompt_tokens_details is not None
    assert (again.usage.prompt_tokens_details.cached_tokens or 0) >= answer.usage.prompt_tokens - 1


def test_a_client_that_leaves_frees_its_slot(client: openai.OpenAI, tiny_url: str) -> None:
    def running() -> int:
        return int(httpx.get(f"{tiny_url}/admin/slots").json()[MODEL]["running"])

    stream = client.chat.completions.create(
        model=MODEL, messages=ASK, stream=True, n=16, max_tokens=900, extra_body={"ignore_eos": True}
    )
    next(iter(stream))
    stream.close()
    for _ in range(200):
        if running() == 0:
            break
    assert running() == 0
    with pytest.raises(openai.APITimeoutError):
        client.with_options(timeout=0.05).chat.completions.create(
            model=MODEL, messages=ASK, n=16, max_tokens=900, extra_body={"ignore_eos": True}
        )
    for _ in range(200):
        if running() == 0:
            break
    assert running() == 0


def test_tools_and_their_answers_through_the_echo(echo: openai.OpenAI) -> None:
    messages: Any = [{"role": "user", "content": 'please call search {"query": "refund", "kind": "bar"}'}]
    first = echo.chat.completions.create(model="echo", messages=messages, tools=TOOLS)
    message = first.choices[0].message
    assert first.choices[0].finish_reason == "tool_calls"
    assert message.content is None
    assert message.tool_calls
    assert message.tool_calls[0].type == "function"
    assert json.loads(message.tool_calls[0].function.arguments) == {"query": "refund", "kind": "bar"}
    messages += [
        message.model_dump(),
        {"role": "tool", "tool_call_id": message.tool_calls[0].id, "content": "found"},
    ]
    second = echo.chat.completions.create(model="echo", messages=messages, tools=TOOLS)
    assert second.choices[0].message.content == "found"
    none = echo.chat.completions.create(model="echo", messages=messages[:1], tools=TOOLS, tool_choice="none")
    assert none.choices[0].message.tool_calls is None


def test_parts_stop_strings_and_unknown_fields(echo: openai.OpenAI) -> None:
    parts: Any = [
        {"role": "user", "content": [{"type": "text", "text": "one "}, {"type": "text", "text": "two three"}]}
    ]
    answer = echo.chat.completions.create(
        model="loopyard-starter", messages=parts, stop=["three"], extra_body={"unheard_of": {"x": 1}}
    )
    assert answer.choices[0].message.content == "one two "


def test_completions(echo: openai.OpenAI, client: openai.OpenAI) -> None:
    answer = client.completions.create(
        model=MODEL, prompt=["a b c", "d e f"], max_tokens=4, n=2, logprobs=1, seed=1
    )
    assert [choice.index for choice in answer.choices] == [0, 1, 2, 3]
    assert all(choice.logprobs and len(choice.logprobs.tokens or ()) == 4 for choice in answer.choices)
    echoed = client.completions.create(model=MODEL, prompt="say this", echo=True, max_tokens=1)
    assert echoed.choices[0].text.startswith("say this")
    streamed = list(client.completions.create(model=MODEL, prompt=[5, 6, 7], max_tokens=3, stream=True))
    assert streamed[-1].choices[0].finish_reason in {"length", "stop"}
