"""Completions, embeddings and models as openai-python sends and reads them."""

import math
from typing import Any

import pytest

from tests.llm_server.conformance.calls import Calls

COMPLETE, EMBED = "completions.create", "embeddings.create"
MINILM = "all-minilm-l6-v2"
GO_ON: dict[str, Any] = {"model": "tiny", "extra_body": {"ignore_eos": True}}


@pytest.mark.parametrize(
    ("prompt", "count"),
    [("once", 1), (["once", "twice"], 2), ([5, 6, 7], 1), ([[5, 6], [7, 8], [9]], 3)],
    ids=["text", "texts", "tokens", "many tokens"],
)
def test_prompts_in_every_form(calls: Calls, prompt: Any, count: int) -> None:
    answer = calls.do(COMPLETE, **GO_ON, prompt=prompt, max_tokens=3)
    assert answer.object == "text_completion"
    assert [choice.index for choice in answer.choices] == list(range(count))
    assert answer.usage.completion_tokens == 3 * count
    chunks = calls.do(COMPLETE, **GO_ON, prompt=prompt, max_tokens=3, stream=True)
    texts = ["".join(c.choices[0].text for c in chunks if c.choices[0].index == i) for i in range(count)]
    assert texts == [choice.text for choice in answer.choices]


def test_sixteen_tokens_unless_told(calls: Calls) -> None:
    assert calls.do(COMPLETE, **GO_ON, prompt="once").usage.completion_tokens == 16


@pytest.mark.parametrize("stream", [False, True])
def test_the_prompt_comes_back_on_demand(calls: Calls, stream: bool) -> None:
    answer = calls.do(COMPLETE, **GO_ON, prompt="say this", echo=True, max_tokens=2, stream=stream)
    text = "".join(c.choices[0].text for c in answer) if stream else answer.choices[0].text
    assert text.startswith("say this")


def test_a_suffix_fills_the_middle(calls: Calls) -> None:
    plain = calls.do(COMPLETE, **GO_ON, prompt="def f(", max_tokens=8)
    filled = calls.do(COMPLETE, **GO_ON, prompt="def f(", suffix="):\n    return 1", max_tokens=8)
    assert filled.usage.prompt_tokens > plain.usage.prompt_tokens
    assert filled.choices[0].text != plain.choices[0].text


@pytest.mark.parametrize("count", [0, 2])
def test_log_probabilities_in_columns(calls: Calls, count: int) -> None:
    scores = calls.do(COMPLETE, **GO_ON, prompt="a", max_tokens=3, logprobs=count).choices[0].logprobs
    assert len(scores.tokens) == len(scores.token_logprobs) == len(scores.text_offset) == 3
    assert all(len(top) <= max(1, count) for top in scores.top_logprobs)


def test_usage_at_the_end_of_a_stream(calls: Calls) -> None:
    chunks = calls.do(
        COMPLETE, **GO_ON, prompt="a", max_tokens=3, stream=True, stream_options={"include_usage": True}
    )
    assert chunks[-1].choices == []
    assert chunks[-1].usage.completion_tokens == 3


def test_choices_and_a_stop_string(calls: Calls) -> None:
    answer = calls.do(COMPLETE, **GO_ON, prompt="a", n=2, best_of=2, temperature=1, seed=1, max_tokens=5)
    assert len(answer.choices) == 2
    whole = answer.choices[0].text
    again = calls.do(COMPLETE, **GO_ON, prompt="a", n=2, temperature=1, seed=1, max_tokens=5, stop=whole[-1])
    assert again.choices[0].text == whole.split(whole[-1])[0]


@pytest.mark.parametrize(
    ("given", "count"),
    [("one two", 1), (["one", "two"], 2), ([101, 102], 1), ([[101], [102, 103]], 2)],
    ids=["text", "texts", "tokens", "many tokens"],
)
@pytest.mark.parametrize("form", ["float", "base64", None])
def test_embeddings_in_every_form(calls: Calls, given: Any, count: int, form: str | None) -> None:
    fields: dict[str, Any] = {} if form is None else {"encoding_format": form}
    answer = calls.do(EMBED, model=MINILM, input=given, **fields)
    assert (answer.object, answer.model) == ("list", MINILM)
    assert [entry.index for entry in answer.data] == list(range(count))
    assert answer.usage.total_tokens == answer.usage.prompt_tokens > 0
    if form != "base64":
        for entry in answer.data:
            assert len(entry.embedding) == 384
            assert math.hypot(*entry.embedding) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("dimensions", [1, 64, 384])
def test_fewer_dimensions(calls: Calls, dimensions: int) -> None:
    vector = calls.do(EMBED, model=MINILM, input="a b c", dimensions=dimensions, user="ann").data[0].embedding
    assert len(vector) == dimensions
    assert math.hypot(*vector) == pytest.approx(1, abs=1e-5)


def test_models(calls: Calls) -> None:
    listed = calls.do("models.list")
    assert {"echo", "tiny", MINILM} <= {model.id for model in listed}
    for model in listed:
        assert (model.object, model.owned_by) == ("model", "loopyard")
        assert model.max_model_len > 0
        assert model.created > 1_700_000_000


@pytest.mark.parametrize("name", ["echo", "tiny", MINILM, "loopyard-starter"])
def test_one_model(calls: Calls, name: str) -> None:
    found = calls.do("models.retrieve", name)
    assert found.id == ("echo" if name == "loopyard-starter" else name)
