"""What a client learns when something is too large, will not work again, or breaks half way."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from fastapi import FastAPI

from llm_server.engine.observer import Observer
from llm_server.errors import (
    BadRequest,
    Conflict,
    EngineFailure,
    LlmServerError,
    ModelLoading,
    NotFound,
    QueueFull,
)
from llm_server.load import chat_model
from llm_server.settings import Settings
from tests.llm_server.conftest import serving
from tests.llm_server.failing import FailingBackend

BREAKS: Any = [{"role": "user", "content": "it goes boom now"}]


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The echo, beside a model that breaks; bodies of at most one megabyte."""
    settings = Settings(backend="echo", data=tmp_path_factory.mktemp("data"), max_body_mb=1)

    def extend(app: FastAPI) -> None:
        app.state.catalog.add(chat_model("failing", FailingBackend(), settings, Observer()))

    with serving(settings, extend) as base:
        yield base


@pytest.fixture
def breaking(url: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=3) as client:
        yield client


@pytest.mark.parametrize(
    ("error", "headers"),
    [
        (QueueFull(3, 1.5), {"retry-after": "2", "retry-after-ms": "1500"}),
        (QueueFull(3, 0.2), {"retry-after": "1", "retry-after-ms": "200"}),
        (ModelLoading("soon"), {"retry-after": "2", "retry-after-ms": "2000"}),
        (Conflict("in use"), {"x-should-retry": "false"}),
        (EngineFailure("broken"), {"x-should-retry": "false"}),
        (LlmServerError("broken"), {"x-should-retry": "false"}),
        (BadRequest("wrong"), {}),
        (NotFound("gone"), {}),
    ],
)
def test_headers_say_whether_to_try_again(error: LlmServerError, headers: dict[str, str]) -> None:
    assert error.headers() == headers


def test_a_failure_is_not_tried_again(breaking: openai.OpenAI) -> None:
    with pytest.raises(openai.InternalServerError, match="device is gone") as failed:
        breaking.chat.completions.create(model="failing", messages=BREAKS)
    assert failed.value.code == "engine_failure"
    assert failed.value.request.headers["x-stainless-retry-count"] == "0"


def test_a_stream_that_breaks_raises_and_ends(breaking: openai.OpenAI, url: str) -> None:
    said = ""
    with pytest.raises(openai.APIError, match="device is gone"):  # noqa: PT012 (the text before it counts)
        for chunk in breaking.chat.completions.create(model="failing", messages=BREAKS, stream=True):
            said += chunk.choices[0].delta.content or ""
    assert said == "it goes boom"[: len(said)]
    assert said.startswith("it goes")
    body = {"model": "failing", "messages": BREAKS, "stream": True}
    lines = [line for line in httpx.post(f"{url}/v1/chat/completions", json=body).text.splitlines() if line]
    assert lines[-1] == "data: [DONE]"
    error = json.loads(lines[-2].removeprefix("data: "))["error"]
    assert (error["type"], error["code"]) == ("server_error", "engine_failure")


def test_a_response_that_breaks_says_so_in_its_last_event(breaking: openai.OpenAI) -> None:
    text = BREAKS[0]["content"]
    events = list(breaking.responses.create(model="failing", input=text, stream=True))
    last = events[-1]
    assert last.type == "response.failed"
    assert last.response.status == "failed"
    assert last.response.error is not None
    assert last.response.error.message == "The device is gone."
    assert last.sequence_number == len(events) - 1
    with pytest.raises(openai.InternalServerError):
        breaking.responses.create(model="failing", input=text)


def test_others_go_on_when_one_breaks(breaking: openai.OpenAI) -> None:
    stream = breaking.chat.completions.create(
        model="failing", messages=[{"role": "user", "content": "calm " * 100}], stream=True
    )
    next(iter(stream))
    with pytest.raises(openai.InternalServerError):
        breaking.chat.completions.create(model="failing", messages=BREAKS)
    said = "".join(chunk.choices[0].delta.content or "" for chunk in stream)
    assert said == "calm " * 100


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/embeddings", "/v1/responses", "/infill"])
@pytest.mark.parametrize("announced", [True, False])
def test_a_body_that_is_too_large(url: str, path: str, announced: bool) -> None:
    body = b'{"model": "echo", "input": "' + b"x" * (1 << 20) + b'"}'
    pieces = iter([body[: 1 << 19], body[1 << 19 :]])
    try:
        answer = httpx.post(f"{url}{path}", content=body if announced else pieces)
    except httpx.TransportError:
        pytest.fail("the answer must come before the connection is closed")
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (413, "body_too_large")
    assert "1 MB" in error["message"]
    assert answer.headers["x-request-id"]


def test_a_large_body_within_the_limit_is_read(url: str) -> None:
    answer = httpx.post(f"{url}/v1/embeddings", json={"model": "all-minilm-l6-v2", "input": "x " * 400_000})
    assert answer.status_code == 200


@pytest.mark.parametrize("wrong", [-1, 1 << 40])
def test_token_ids_that_are_none(url: str, wrong: int) -> None:
    answer = httpx.post(f"{url}/v1/embeddings", json={"model": "all-minilm-l6-v2", "input": [[5, wrong]]})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "input")


def test_a_loading_server_asks_for_patience(tmp_path: Path) -> None:
    from llm_server.catalog import Catalog

    with pytest.raises(ModelLoading) as loading:
        Catalog().get("anything")
    assert loading.value.headers()["retry-after-ms"] == "2000"
    assert loading.value.status == 503
