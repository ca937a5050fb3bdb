"""Chat completions as openai-python sends and reads them."""

import json
from typing import Any, Literal

import pytest
from pydantic import BaseModel

from tests.llm_server.conformance.calls import Calls

CREATE = "chat.completions.create"
HI: Any = [{"role": "user", "content": "hello there"}]
SEARCH: Any = {
    "type": "function",
    "function": {
        "name": "search",
        "parameters": {
            "type": "object",
            "properties": {"query": {"type": "string"}, "kind": {"enum": ["bar", "line"]}},
            "required": ["query", "kind"],
        },
    },
}
LIST: Any = {"type": "function", "function": {"name": "list_all", "parameters": {"type": "object"}}}
CALL: Any = [{"role": "user", "content": 'call search {"query": "refund", "kind": "bar"}'}]
TINY: dict[str, Any] = {"model": "tiny", "messages": HI, "extra_body": {"ignore_eos": True}}


def said(chunks: list[Any]) -> str:
    return "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)


def test_an_answer(calls: Calls) -> None:
    answer = calls.do(CREATE, model="echo", messages=HI)
    assert answer.id.startswith("chatcmpl-")
    assert (answer.object, answer.model) == ("chat.completion", "echo")
    assert answer.created > 1_700_000_000
    choice = answer.choices[0]
    assert (choice.index, choice.finish_reason, choice.logprobs) == (0, "stop", None)
    assert (choice.message.role, choice.message.content) == ("assistant", "hello there")
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens


def test_a_stream(calls: Calls) -> None:
    chunks = calls.do(CREATE, model="echo", messages=HI, stream=True)
    assert len({chunk.id for chunk in chunks}) == 1
    assert {chunk.object for chunk in chunks} == {"chat.completion.chunk"}
    assert chunks[0].choices[0].delta.role == "assistant"
    assert said(chunks) == "hello there"
    assert [c.choices[0].finish_reason for c in chunks] == [None] * (len(chunks) - 1) + ["stop"]
    assert all(chunk.usage is None for chunk in chunks)


def test_usage_of_a_stream_comes_last_without_choices(calls: Calls) -> None:
    chunks = calls.do(CREATE, model="echo", messages=HI, stream=True, stream_options={"include_usage": True})
    whole = calls.do(CREATE, model="echo", messages=HI)
    assert chunks[-1].choices == []
    assert chunks[-1].usage.completion_tokens == whole.usage.completion_tokens
    assert all(chunk.usage is None for chunk in chunks[:-1])


@pytest.mark.parametrize("field", ["max_tokens", "max_completion_tokens"])
@pytest.mark.parametrize("limit", [1, 7])
def test_both_names_of_the_limit(calls: Calls, field: str, limit: int) -> None:
    limited: dict[str, Any] = {**TINY, field: limit}
    answer = calls.do(CREATE, **limited)
    assert answer.usage.completion_tokens == limit
    assert answer.choices[0].finish_reason == "length"


@pytest.mark.parametrize("stop", [" there", ["no", " there"], "lo t"])
def test_stop_strings_are_not_part_of_the_answer(calls: Calls, stop: Any) -> None:
    answer = calls.do(CREATE, model="echo", messages=HI, stop=stop)
    cut = stop if isinstance(stop, str) else stop[-1]
    assert answer.choices[0].message.content == "hello there".split(cut)[0]
    assert answer.choices[0].finish_reason == "stop"
    assert (
        said(calls.do(CREATE, model="echo", messages=HI, stop=stop, stream=True))
        == "hello there".split(cut)[0]
    )


@pytest.mark.parametrize("n", [2, 5])
def test_several_choices(calls: Calls, n: int) -> None:
    answer = calls.do(CREATE, **TINY, n=n, temperature=1.5, seed=3, max_tokens=6)
    assert [choice.index for choice in answer.choices] == list(range(n))
    assert len({choice.message.content for choice in answer.choices}) > 1
    chunks = calls.do(CREATE, **TINY, n=n, temperature=1.5, seed=3, max_tokens=6, stream=True)
    ends = [c.choices[0].index for c in chunks if c.choices[0].finish_reason]
    assert sorted(ends) == list(range(n))


def test_a_seed_repeats_itself(calls: Calls) -> None:
    def ask(seed: int) -> str:
        answer = calls.do(CREATE, **TINY, temperature=1.5, seed=seed, max_tokens=12)
        return str(answer.choices[0].message.content)

    assert ask(1) == ask(1)
    assert len({ask(seed) for seed in range(1, 5)}) > 1


@pytest.mark.parametrize("top", [0, 3, 20])
def test_log_probabilities(calls: Calls, top: int) -> None:
    answer = calls.do(CREATE, **TINY, logprobs=True, top_logprobs=top, max_tokens=4)
    scores = answer.choices[0].logprobs.content
    assert len(scores) == 4
    for score in scores:
        assert score.logprob <= 0
        assert len(score.top_logprobs) == top
        assert bytes(score.bytes).decode("utf-8", "replace") == score.token
        assert top == 0 or score.top_logprobs[0].logprob == pytest.approx(score.logprob)


def test_log_probabilities_in_a_stream(calls: Calls) -> None:
    chunks = calls.do(CREATE, **TINY, logprobs=True, max_tokens=4, stream=True)
    scores = [s for c in chunks if c.choices[0].logprobs for s in c.choices[0].logprobs.content]
    assert len(scores) == 4


@pytest.mark.parametrize("token", [70, 90])
def test_a_bias_decides(calls: Calls, token: int) -> None:
    answer = calls.do(CREATE, **TINY, logit_bias={str(token): 100}, logprobs=True, max_tokens=3)
    tokens = [score.token for score in answer.choices[0].logprobs.content]
    assert len(set(tokens)) == 1
    barred = calls.do(CREATE, **TINY, logit_bias={str(token): -100}, logprobs=True, max_tokens=3)
    assert tokens[0] not in [score.token for score in barred.choices[0].logprobs.content]


@pytest.mark.parametrize("field", ["presence_penalty", "frequency_penalty"])
def test_a_penalty_stops_repetition(calls: Calls, field: str) -> None:
    biased = {**TINY, "logit_bias": {"70": 15, "71": 14.5}, "max_tokens": 6, "logprobs": True}

    def kinds(**more: Any) -> int:
        answer = calls.do(CREATE, **biased, **more)
        return len({score.token for score in answer.choices[0].logprobs.content})

    assert kinds() == 1
    assert kinds(**{field: 2}) > 1


@pytest.mark.parametrize(
    "messages",
    [
        [
            {
                "role": "user",
                "content": [{"type": "text", "text": "hello "}, {"type": "text", "text": "there"}],
            }
        ],
        [{"role": "system", "content": "be kind"}, *HI],
        [{"role": "developer", "content": "be kind"}, *HI],
        [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}, *HI],
        [{"role": "user", "content": "a", "name": "ann"}, {"role": "assistant", "content": None}, *HI],
        [{"role": "assistant", "content": [{"type": "refusal", "refusal": "no"}]}, *HI],
    ],
)
def test_messages_in_every_form(calls: Calls, messages: Any) -> None:
    assert calls.do(CREATE, model="echo", messages=messages).choices[0].message.content == "hello there"


@pytest.mark.parametrize(
    "fields",
    [
        {"user": "ann"},
        {"metadata": {"a": "b"}},
        {"store": True},
        {"service_tier": "auto"},
        {"prompt_cache_key": "k"},
        {"prompt_cache_retention": "24h"},
        {"safety_identifier": "x"},
        {"verbosity": "low"},
        {"reasoning_effort": "low"},
        {"modalities": ["text"]},
        {"prediction": {"type": "content", "content": "hello"}},
        {"parallel_tool_calls": True},
        {"response_format": {"type": "text"}},
        {"extra_body": {"top_k": 5, "min_p": 0.1, "repetition_penalty": 1.1, "unheard_of": [1]}},
        {"extra_body": {"tools": None, "stop": None, "max_tokens": None, "logit_bias": None}},
    ],
    ids=lambda fields: "+".join(fields),
)
def test_fields_that_change_nothing_here(calls: Calls, fields: dict[str, Any]) -> None:
    assert calls.do(CREATE, model="echo", messages=HI, **fields).choices[0].message.content == "hello there"


def test_a_call_that_the_model_chose(calls: Calls) -> None:
    answer = calls.do(CREATE, model="echo", messages=CALL, tools=[SEARCH, LIST])
    choice = answer.choices[0]
    assert (choice.finish_reason, choice.message.content) == ("tool_calls", None)
    call = choice.message.tool_calls[0]
    assert (call.type, call.function.name) == ("function", "search")
    assert call.id.startswith("call_")
    assert json.loads(call.function.arguments) == {"query": "refund", "kind": "bar"}


def test_tools_that_the_model_did_not_choose(calls: Calls) -> None:
    choice = calls.do(CREATE, model="echo", messages=HI, tools=[SEARCH]).choices[0]
    assert (choice.message.content, choice.message.tool_calls) == ("hello there", None)


@pytest.mark.parametrize(
    "choice",
    [
        "required",
        {"type": "function", "function": {"name": "search"}},
        {
            "type": "allowed_tools",
            "allowed_tools": {
                "mode": "required",
                "tools": [{"type": "function", "function": {"name": "search"}}],
            },
        },
    ],
    ids=["required", "named", "allowed"],
)
@pytest.mark.parametrize("model", ["echo", "tiny"])
def test_calls_that_are_forced_fit_their_schema(calls: Calls, choice: Any, model: str) -> None:
    tools = [SEARCH] if choice == "required" else [LIST, SEARCH]
    messages = [{"role": "user", "content": "x"}]
    answer = calls.do(
        CREATE,
        model=model,
        messages=messages,
        tools=tools,
        tool_choice=choice,
        parallel_tool_calls=False,
        temperature=1,
        seed=4,
        logit_bias={"5": 5},
    )
    if answer.choices[0].finish_reason == "length":
        pytest.fail("the random model did not end its string; choose another seed")
    arguments = json.loads(answer.choices[0].message.tool_calls[0].function.arguments)
    assert answer.choices[0].message.tool_calls[0].function.name == "search"
    assert arguments["kind"] in {"bar", "line"}
    assert isinstance(arguments["query"], str)


def test_no_calls_where_none_are_wanted(calls: Calls) -> None:
    choice = calls.do(CREATE, model="echo", messages=CALL, tools=[SEARCH], tool_choice="none").choices[0]
    assert choice.message.tool_calls is None


def test_calls_in_a_stream_have_a_head_and_pieces(calls: Calls) -> None:
    chunks = calls.do(CREATE, model="echo", messages=CALL, tools=[SEARCH], stream=True)
    pieces = [piece for chunk in chunks for piece in chunk.choices[0].delta.tool_calls or ()]
    assert (pieces[0].index, pieces[0].type, pieces[0].function.name) == (0, "function", "search")
    assert pieces[0].id
    assert {piece.id for piece in pieces[1:]} == {None}
    assert json.loads("".join(piece.function.arguments or "" for piece in pieces))["query"] == "refund"
    assert chunks[-1].choices[0].finish_reason == "tool_calls"


@pytest.mark.parametrize("content", ["ten days", [{"type": "text", "text": "ten days"}]])
def test_the_answer_of_a_tool_goes_back(calls: Calls, content: Any) -> None:
    first = calls.do(CREATE, model="echo", messages=CALL, tools=[SEARCH]).choices[0].message
    tool = {"role": "tool", "tool_call_id": first.tool_calls[0].id, "content": content}
    second = calls.do(CREATE, model="echo", messages=[*CALL, first, tool], tools=[SEARCH])
    assert second.choices[0].message.content == "ten days"


class Route(BaseModel):
    """Where a question goes."""

    target: Literal["documents", "database"]
    sure: bool


@pytest.mark.parametrize("model", ["echo", "tiny"])
def test_a_schema_is_kept(calls: Calls, model: str) -> None:
    answer = calls.do("chat.completions.parse", model=model, messages=HI, response_format=Route)
    assert isinstance(answer.choices[0].message.parsed, Route)


@pytest.mark.parametrize("model", ["echo", "tiny"])
def test_json_is_json(calls: Calls, model: str) -> None:
    form = {"type": "json_object"}
    answer = calls.do(CREATE, model=model, messages=HI, response_format=form, max_tokens=30)
    content = answer.choices[0].message.content
    assert content.startswith("{")
    if answer.choices[0].finish_reason == "stop":
        assert isinstance(json.loads(content), dict)


def test_thoughts_apart(calls: Calls) -> None:
    messages = [{"role": "user", "content": "<think>hm</think>twelve"}]
    message = calls.do(CREATE, model="echo", messages=messages).choices[0].message
    assert (message.content, message.reasoning_content) == ("twelve", "hm")
    chunks = calls.do(CREATE, model="echo", messages=messages, stream=True)
    thought = "".join(getattr(c.choices[0].delta, "reasoning_content", None) or "" for c in chunks)
    assert (thought, said(chunks)) == ("hm", "twelve")


def test_a_request_has_an_id(calls: Calls) -> None:
    raw = calls.do("chat.completions.with_raw_response.create", model="echo", messages=HI)
    assert raw.headers["x-request-id"].startswith("req_")
    assert raw.parse().choices[0].message.content == "hello there"
