"""Filling in the middle, with a random model whose tokenizer has FIM tokens, and with one that has none."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from llm_server.backends.llama_cpp import load_model
from llm_server.backends.llama_vocabulary import LlamaVocabulary
from llm_server.engine.fim import FimTokens, find_fim
from llm_server.errors import BadRequest
from llm_server.infill import Excerpt, infill_prompt, repository_prompt
from llm_server.settings import Settings
from tests.llm_server.conftest import serving
from tests.llm_server.tiny import FIM

BEFORE, AFTER = "def area(r):\n    return ", "\n\nprint(area(2))\n"


@pytest.fixture(scope="module")
def vocabulary(coder: Path) -> LlamaVocabulary:
    return LlamaVocabulary(load_model(coder))


@pytest.fixture(scope="module")
def coder_url(coder: Path, models: Path) -> Iterator[str]:
    settings = Settings(model=str(coder), data=models, embeddings=False, threads=1, temperature=0)
    with serving(settings) as url:
        yield url


@pytest.fixture
def code(coder_url: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{coder_url}/v1", api_key="none", max_retries=0) as client:
        yield client


def model_of(url: str) -> str:
    return str(httpx.get(f"{url}/v1/models").json()["data"][0]["id"])


def events(answer: httpx.Response) -> list[dict[str, Any]]:
    lines = [line.removeprefix("data: ") for line in answer.text.splitlines() if line]
    assert lines[-1] == "[DONE]"
    return [json.loads(line) for line in lines[:-1]]


def test_the_prompt_is_prefix_suffix_middle(vocabulary: LlamaVocabulary) -> None:
    fim = vocabulary.fim
    assert fim == find_fim(vocabulary.specials)
    assert fim is not None
    tokens = infill_prompt(vocabulary, BEFORE, AFTER)
    assert tokens == [
        fim.prefix,
        *vocabulary.tokenize(BEFORE),
        fim.suffix,
        *vocabulary.tokenize(AFTER),
        fim.middle,
    ]
    assert [vocabulary.piece(i).decode() for i in (fim.prefix, fim.suffix, fim.middle)] == FIM[:3]


def test_text_of_marks_in_the_code_stays_text(vocabulary: LlamaVocabulary) -> None:
    tokens = infill_prompt(vocabulary, f"x = '{FIM[2]}'", FIM[0])
    assert vocabulary.fim is not None
    assert tokens.count(vocabulary.fim.middle) == 1
    assert tokens.count(vocabulary.fim.prefix) == 1


def test_other_files_come_first_and_the_earliest_give_way(vocabulary: LlamaVocabulary) -> None:
    fim = vocabulary.fim
    assert fim is not None
    excerpts = [Excerpt("a.py", "a = 1"), Excerpt("b.py", "b = 2")]
    text = b"".join(map(vocabulary.piece, repository_prompt(vocabulary, "x", "y", excerpts, 400))).decode()
    assert text.startswith("<|repo_name|>repository\n<|file_sep|>a.py\na = 1\n<|file_sep|>b.py\nb = 2\n")
    assert text.endswith("<|fim_prefix|>x<|fim_suffix|>y<|fim_middle|>")
    whole = len(repository_prompt(vocabulary, "x", "y", excerpts, 400))
    fewer = repository_prompt(vocabulary, "x", "y", excerpts, whole - 1)
    assert b"a.py" not in b"".join(map(vocabulary.piece, fewer))
    assert b"b.py" in b"".join(map(vocabulary.piece, fewer))
    assert repository_prompt(vocabulary, "x", "y", excerpts, 5) == infill_prompt(vocabulary, "x", "y")


@pytest.mark.parametrize(
    "family", [("<fim_prefix>", "<fim_suffix>", "<fim_middle>"), ("<PRE>", "<SUF>", "<MID>")]
)
def test_well_known_names_are_found(family: tuple[str, str, str]) -> None:
    assert find_fim({name: i for i, name in enumerate(family)}) == FimTokens(0, 1, 2)
    assert find_fim(dict.fromkeys(family[:2], 1)) is None


def test_a_suffix_in_completions(code: openai.OpenAI, coder_url: str, vocabulary: LlamaVocabulary) -> None:
    model = model_of(coder_url)
    with_suffix = code.completions.create(model=model, prompt=BEFORE, suffix=AFTER, max_tokens=12)
    by_hand = code.completions.create(
        model=model, prompt=infill_prompt(vocabulary, BEFORE, AFTER), max_tokens=12
    )
    plain = code.completions.create(model=model, prompt=BEFORE, max_tokens=12)
    assert with_suffix.choices[0].text == by_hand.choices[0].text
    assert with_suffix.choices[0].text != plain.choices[0].text
    assert with_suffix.usage is not None
    assert by_hand.usage is not None
    assert with_suffix.usage.prompt_tokens == by_hand.usage.prompt_tokens
    with pytest.raises(openai.BadRequestError, match="token ids"):
        code.completions.create(model=model, prompt=[1, 2], suffix="x")


def test_mistrals_route_whole_and_streamed(coder_url: str, code: openai.OpenAI) -> None:
    body: dict[str, Any] = {
        "model": model_of(coder_url),
        "prompt": BEFORE,
        "suffix": AFTER,
        "max_tokens": 10,
    }
    expected = code.completions.create(**body).choices[0].text
    whole = httpx.post(f"{coder_url}/v1/fim/completions", json=body).json()
    assert whole["object"] == "chat.completion"
    assert whole["choices"][0]["message"] == {"role": "assistant", "content": expected}
    chunks = events(httpx.post(f"{coder_url}/v1/fim/completions", json={**body, "stream": True}))
    assert "".join(chunk["choices"][0]["delta"]["content"] for chunk in chunks) == expected
    assert chunks[-1]["choices"][0]["finish_reason"] == whole["choices"][0]["finish_reason"]
    assert chunks[-1]["usage"]["completion_tokens"] == whole["usage"]["completion_tokens"]


def test_llama_vims_route(coder_url: str) -> None:
    body: dict[str, Any] = {
        "input_prefix": BEFORE,
        "input_suffix": AFTER,
        "prompt": "3.14 ",
        "input_extra": [{"filename": "b.py", "text": "b = 2"}],
        "n_predict": 8,
        "t_max_predict_ms": 500,
        "samplers": ["top_k", "infill"],
    }
    whole = httpx.post(f"{coder_url}/infill", json=body).json()
    assert (whole["stop"], whole["truncated"], whole["tokens_predicted"]) == (True, False, 8)
    chunks = events(httpx.post(f"{coder_url}/infill", json={**body, "stream": True}))
    assert "".join(chunk["content"] for chunk in chunks) == whole["content"]
    assert [chunk["stop"] for chunk in chunks[-2:]] == [False, True]
    warmed = httpx.post(f"{coder_url}/infill", json={**body, "n_predict": 0}).json()
    assert warmed["content"] == ""
    assert warmed["tokens_cached"] > 0


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/completions", {"prompt": "a", "suffix": "b"}),
        ("/v1/fim/completions", {"prompt": "a", "suffix": "b"}),
        ("/infill", {"input_prefix": "a", "input_suffix": "b"}),
    ],
)
def test_a_model_without_the_tokens_says_so(tiny_url: str, path: str, body: dict[str, Any]) -> None:
    answer = httpx.post(f"{tiny_url}{path}", json={"model": "tiny-f16", **body})
    assert answer.status_code == 400
    assert "FIM tokens" in answer.json()["error"]["message"]


def test_an_infill_prompt_needs_the_tokens(models: Path, tiny: Any) -> None:
    with pytest.raises(BadRequest, match="not trained"):
        infill_prompt(LlamaVocabulary(load_model(tiny("f16"))), "a", "b")
