"""Every error is OpenAI's, so that the client raises its own types."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from llm_server.settings import Settings
from tests.llm_server.conftest import ADMIN, USER, serving

HI: Any = [{"role": "user", "content": "hi"}]


def test_an_unknown_model(echo: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError, match="all-minilm") as refused:
        echo.chat.completions.create(model="gpt-99", messages=HI)
    assert refused.value.code == "model_not_found"
    assert refused.value.param == "model"


def test_a_model_for_something_else(echo: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError):
        echo.chat.completions.create(model="all-minilm-l6-v2", messages=HI)
    with pytest.raises(openai.BadRequestError):
        echo.embeddings.create(model="echo", input="x")


def test_a_prompt_longer_than_the_context_names_both_numbers(echo: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match=r"4096 tokens.* 5020 tokens") as refused:
        echo.chat.completions.create(model="echo", messages=[{"role": "user", "content": "x" * 5001}])
    assert refused.value.code == "context_length_exceeded"


@pytest.mark.parametrize(
    "body",
    [
        {"messages": []},
        {"messages": [{"role": "wizard", "content": "x"}]},
        {"messages": HI, "temperature": 9},
        {"messages": HI, "n": 0},
        {"messages": HI, "logit_bias": {"x": 1}},
        {"messages": HI, "response_format": {"type": "json_schema"}},
        {"messages": HI, "tool_choice": "required"},
        {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]},
        {"messages": HI, "tools": [{"type": "function", "function": {"name": "a b"}}]},
        {
            "messages": HI,
            "tools": [{"type": "function", "function": {"name": "a", "parameters": {"$ref": "http://x"}}}],
        },
    ],
)
def test_bad_values_name_the_field(echo_url: str, body: dict[str, Any]) -> None:
    answer = httpx.post(
        f"{echo_url}/v1/chat/completions",
        json={"model": "echo", **body},
        headers={"authorization": f"Bearer {USER}"},
    )
    error = answer.json()["error"]
    assert answer.status_code == 400, error
    assert set(error) == {"message", "type", "param", "code"}
    assert error["type"] == "invalid_request_error"


def test_what_is_not_json_and_what_is_not_there(echo_url: str) -> None:
    headers = {"authorization": f"Bearer {USER}", "x-request-id": "mine-1"}
    answer = httpx.post(f"{echo_url}/v1/chat/completions", content=b"{", headers=headers)
    assert answer.status_code == 400
    assert answer.json()["error"]["message"]
    assert answer.headers["x-request-id"] == "mine-1"
    missing = httpx.get(f"{echo_url}/v1/nothing", headers=headers)
    assert (missing.status_code, missing.json()["error"]["code"]) == (404, "not_found")
    wrong = httpx.get(f"{echo_url}/v1/chat/completions", headers=headers)
    assert (wrong.status_code, wrong.json()["error"]["type"]) == (405, "invalid_request_error")
    assert httpx.get(f"{echo_url}/health").headers["x-request-id"].startswith("req_")


def test_keys_and_scopes(echo_url: str) -> None:
    def status(path: str, key: str | None) -> int:
        headers = {} if key is None else {"authorization": f"Bearer {key}"}
        return httpx.get(f"{echo_url}{path}", headers=headers).status_code

    assert [status("/v1/models", key) for key in (None, "wrong", USER, ADMIN)] == [401, 401, 200, 200]
    assert [status("/admin/slots", key) for key in (None, "wrong", USER, ADMIN)] == [401, 401, 403, 200]
    assert status("/metrics", None) == 401
    assert status("/health", None) == 200
    with pytest.raises(openai.AuthenticationError):
        openai.OpenAI(base_url=f"{echo_url}/v1", api_key="wrong", max_retries=0).models.list()


@pytest.fixture
def busy_url(tmp_path: Path, tiny: Any) -> Iterator[str]:
    """One slot, no queue."""
    settings = Settings(model=str(tiny("f16")), data=tmp_path, embeddings=False, threads=1, slots=1, queue=0)
    with serving(settings) as url:
        yield url


def test_a_full_queue_is_429_with_retry_after(busy_url: str) -> None:
    client = openai.OpenAI(base_url=f"{busy_url}/v1", api_key="none", max_retries=0)
    stream = client.chat.completions.create(
        model="tiny-f16", messages=HI, stream=True, n=16, max_tokens=900, extra_body={"ignore_eos": True}
    )
    next(iter(stream))
    with pytest.raises(openai.RateLimitError) as refused:
        client.chat.completions.create(model="tiny-f16", messages=HI)
    assert refused.value.code == "queue_full"
    assert int(refused.value.response.headers["retry-after"]) >= 1
    with pytest.raises(openai.RateLimitError):
        client.chat.completions.create(model="tiny-f16", messages=HI, stream=True)
    with pytest.raises(openai.RateLimitError):
        client.completions.create(model="tiny-f16", prompt="x", stream=True)
    with pytest.raises(openai.RateLimitError):
        client.responses.create(model="tiny-f16", input="x", stream=True)
    stream.close()
    client.close()


def test_one_bad_request_among_good_ones(client: openai.OpenAI) -> None:
    def ask(n: int) -> str:
        schema: Any = {"type": "integer", "minimum": 5, "maximum": 1 if n == 2 else 9}
        form: Any = {"type": "json_schema", "json_schema": {"name": "n", "schema": schema}}
        try:
            answer = client.chat.completions.create(model="tiny-f16", messages=HI, response_format=form)
        except openai.BadRequestError as error:
            return str(error.code)
        return answer.choices[0].message.content or ""

    with ThreadPoolExecutor(4) as pool:
        texts = list(pool.map(ask, range(4)))
    assert texts[2] == "unsupported_schema"
    assert all(text in "56789" for i, text in enumerate(texts) if i != 2)
