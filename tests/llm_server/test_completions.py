"""How likely a text is: `echo` with `logprobs`, as evaluation harnesses ask for it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from llm_server.settings import Settings
from tests.llm_server.conftest import serving
from tests.llm_server.onnx_models import prepared

ONCE = "once upon a time there was a king who had three daughters, and "
LONG = ONCE * 4
"""More tokens than are scored in one step."""


@pytest.fixture(scope="module")
def onnx_url(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    prepared(models, "fp32")
    settings = Settings(
        backend="onnx",
        precision="fp32",
        model=str(models / "tiny"),
        data=models,
        embeddings=False,
        threads=1,
        temperature=0,
    )
    with serving(settings) as url:
        yield url


@pytest.fixture(params=["llama_cpp", "onnx"])
def any_client(request: pytest.FixtureRequest) -> Iterator[openai.OpenAI]:
    """The tiny model on either engine."""
    url = request.getfixturevalue("tiny_url" if request.param == "llama_cpp" else "onnx_url")
    with openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client:
        yield client


def model_of(client: openai.OpenAI) -> str:
    return next(iter(client.models.list())).id


def tokens_of(client: openai.OpenAI, text: str) -> list[int]:
    body = {"model": model_of(client), "content": text}
    found: list[int] = httpx.post(f"{client.base_url}tokenize", json=body).json()["tokens"]
    return found


def scored(client: openai.OpenAI, prompt: str | list[int], **more: Any) -> Any:
    asked = {"max_tokens": 0, "echo": True, "logprobs": 3, **more}
    return client.completions.create(model=model_of(client), prompt=prompt, **asked)


def test_a_prompt_is_as_likely_as_when_it_was_written(any_client: openai.OpenAI) -> None:
    """What the model writes greedily, with the scores of its tokens, and the same text as a prompt."""
    model, start = model_of(any_client), tokens_of(any_client, ONCE)
    written = any_client.completions.create(
        model=model, prompt=start, max_tokens=8, logprobs=3, temperature=0, extra_body={"ignore_eos": True}
    )
    mine: Any = written.choices[0].logprobs
    whole = [*start, *(tokens_of(any_client, written.choices[0].text))]
    read = scored(any_client, whole).choices[0].logprobs
    if len(whole) == len(start) + 8:
        assert read.token_logprobs[-8:] == pytest.approx(mine.token_logprobs, abs=2e-2)
        assert [max(top.values()) for top in read.top_logprobs[-8:]] == pytest.approx(
            [max(top.values()) for top in mine.top_logprobs], abs=2e-2
        )
    first = scored(any_client, [*start, whole[len(start)]]).choices[0].logprobs
    assert first.token_logprobs[-1] == pytest.approx(read.token_logprobs[len(start)], abs=2e-2)


def test_every_token_but_the_first_is_scored_and_nothing_is_written(any_client: openai.OpenAI) -> None:
    answer = scored(any_client, LONG)
    (choice,) = answer.choices
    count = len(tokens_of(any_client, LONG))
    assert count > 64
    assert (choice.text, choice.finish_reason) == (LONG, "length")
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (count, 0)
    scores = choice.logprobs
    assert len(scores.tokens) == len(scores.token_logprobs) == len(scores.top_logprobs) == count
    assert "".join(scores.tokens) == LONG
    assert scores.token_logprobs[0] is scores.top_logprobs[0] is None
    assert all(score < 0 for score in scores.token_logprobs[1:])
    assert [LONG[at : at + len(t)] for at, t in zip(scores.text_offset, scores.tokens, strict=True)] == (
        scores.tokens
    )


def test_a_cached_prefix_changes_no_score(any_client: openai.OpenAI) -> None:
    before = scored(any_client, LONG).choices[0].logprobs.token_logprobs
    any_client.completions.create(model=model_of(any_client), prompt=LONG, max_tokens=2)
    after = scored(any_client, LONG).choices[0].logprobs.token_logprobs
    assert after[1:] == pytest.approx(before[1:], abs=2e-2)


def test_a_harness_sums_the_scores_of_an_answer(any_client: openai.OpenAI) -> None:
    """lm-eval asks for one token beyond context and continuation, and drops its score."""
    context, continuation = tokens_of(any_client, ONCE), tokens_of(any_client, "they lived")
    answer = scored(any_client, [*context, *continuation], max_tokens=1, logprobs=1, temperature=0, seed=1)
    scores = answer.choices[0].logprobs
    kept, tops = (column[len(context) : -1] for column in (scores.token_logprobs, scores.top_logprobs))
    assert len(kept) == len(continuation)
    alone = scored(any_client, [*context, *continuation]).choices[0].logprobs.token_logprobs
    assert sum(kept) == pytest.approx(sum(alone[len(context) :]), abs=0.1)
    assert all(score <= max(top.values()) + 1e-9 for score, top in zip(kept, tops, strict=True))
    assert answer.usage.completion_tokens == 1


def test_a_greedy_continuation_is_told_to_be_one(any_client: openai.OpenAI) -> None:
    start = tokens_of(any_client, ONCE)
    top = scored(any_client, [*start, start[0]], logprobs=1, max_tokens=1).choices[0].logprobs
    likeliest = max(top.top_logprobs[-2], key=lambda text: top.top_logprobs[-2][text])
    best = tokens_of(any_client, likeliest)
    if len(best) == 1:
        again = scored(any_client, [*start, *best], logprobs=1, max_tokens=1).choices[0].logprobs
        assert again.token_logprobs[-2] == max(again.top_logprobs[-2].values())


def test_a_stream_tells_the_same(any_client: openai.OpenAI) -> None:
    whole = scored(any_client, LONG, max_tokens=3, temperature=0).choices[0]
    chunks = list(scored(any_client, LONG, max_tokens=3, temperature=0, stream=True))
    told = [chunk.choices[0] for chunk in chunks if chunk.choices]
    assert "".join(choice.text for choice in told) == whole.text
    scores = [s for choice in told if choice.logprobs for s in choice.logprobs.token_logprobs]
    assert scores[1:] == pytest.approx(whole.logprobs.token_logprobs[1:], abs=2e-2)
    assert told[-1].finish_reason == "length"


def test_several_prompts_are_scored_together(any_client: openai.OpenAI) -> None:
    prompts = [ONCE, LONG, ONCE + "x"]
    many = scored(any_client, prompts)  # type: ignore[arg-type]
    for prompt, choice in zip(prompts, many.choices, strict=True):
        alone = scored(any_client, prompt).choices[0].logprobs
        assert choice.logprobs.token_logprobs[1:] == pytest.approx(alone.token_logprobs[1:], abs=2e-2)


def test_nothing_is_written_without_echo_too(client: openai.OpenAI) -> None:
    answer = client.completions.create(model=model_of(client), prompt=ONCE, max_tokens=0)
    assert (answer.choices[0].text, answer.choices[0].logprobs) == ("", None)
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 0


def test_what_is_not_meant_is_refused_by_name(echo: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="best_of 4 is not supported") as refused:
        echo.completions.create(model="echo", prompt="a", n=2, best_of=4)
    assert refused.value.param == "best_of"
    hello: Any = [{"role": "user", "content": "hi"}]
    for field in ("max_tokens", "max_completion_tokens"):
        with pytest.raises(openai.BadRequestError) as refused:
            echo.chat.completions.create(model="echo", messages=hello, **{field: 0})  # type: ignore[call-overload]
        assert refused.value.param == field
