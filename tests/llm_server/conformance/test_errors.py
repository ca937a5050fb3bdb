"""Every failure is the typed exception that openai-python has for it."""

import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import openai
import pytest

from tests.llm_server.conformance.calls import Calls, Server

CHAT, COMPLETE, EMBED, RESPOND = (
    "chat.completions.create",
    "completions.create",
    "embeddings.create",
    "responses.create",
)
HI: Any = [{"role": "user", "content": "hi"}]
BREAKS: Any = [{"role": "user", "content": "it goes boom now"}]
MINILM = "all-minilm-l6-v2"


@pytest.mark.parametrize(
    ("method", "fields", "error", "code", "param"),
    [
        (CHAT, {"model": "gpt-99", "messages": HI}, openai.NotFoundError, "model_not_found", "model"),
        (COMPLETE, {"model": "gpt-99", "prompt": "x"}, openai.NotFoundError, "model_not_found", "model"),
        (EMBED, {"model": "gpt-99", "input": "x"}, openai.NotFoundError, "model_not_found", "model"),
        (RESPOND, {"model": "gpt-99", "input": "x"}, openai.NotFoundError, "model_not_found", "model"),
        (CHAT, {"model": MINILM, "messages": HI}, openai.BadRequestError, "invalid_value", "model"),
        (EMBED, {"model": "echo", "input": "x"}, openai.BadRequestError, "invalid_value", "model"),
        (CHAT, {"model": "echo", "messages": []}, openai.BadRequestError, "invalid_value", "messages"),
        (
            CHAT,
            {"model": "echo", "messages": HI, "temperature": 3},
            openai.BadRequestError,
            "invalid_value",
            "temperature",
        ),
        (
            CHAT,
            {"model": "echo", "messages": HI, "tool_choice": "required"},
            openai.BadRequestError,
            "invalid_value",
            "tool_choice",
        ),
        (
            CHAT,
            {"model": "echo", "messages": [{"role": "user", "content": "x" * 5000}]},
            openai.BadRequestError,
            "context_length_exceeded",
            "messages",
        ),
        (
            CHAT,
            {
                "model": "echo",
                "messages": [
                    {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:x"}}]}
                ],
            },
            openai.BadRequestError,
            "unsupported_content",
            "messages",
        ),
        (
            COMPLETE,
            {"model": "echo", "prompt": "a", "suffix": "b"},
            openai.BadRequestError,
            "unsupported_parameter",
            "suffix",
        ),
        (COMPLETE, {"model": "echo", "prompt": []}, openai.BadRequestError, "invalid_value", "prompt"),
        (EMBED, {"model": MINILM, "input": []}, openai.BadRequestError, "invalid_value", "input"),
        (
            EMBED,
            {"model": MINILM, "input": "x", "dimensions": 999},
            openai.BadRequestError,
            "invalid_value",
            "dimensions",
        ),
        (
            RESPOND,
            {"model": "echo", "input": "x", "previous_response_id": "resp_0"},
            openai.NotFoundError,
            "response_not_found",
            "previous_response_id",
        ),
        (
            RESPOND,
            {"model": "echo", "input": "x", "tools": [{"type": "web_search"}]},
            openai.BadRequestError,
            "unsupported_parameter",
            "tools",
        ),
        (
            RESPOND,
            {"model": "echo", "input": "x", "background": True},
            openai.BadRequestError,
            "unsupported_parameter",
            "background",
        ),
        (
            CHAT,
            {"model": "failing", "messages": BREAKS},
            openai.InternalServerError,
            "engine_failure",
            None,
        ),
        (
            CHAT,
            {"model": "echo", "messages": [{"role": "user", "content": "x" * (1 << 20)}]},
            openai.APIStatusError,
            "body_too_large",
            None,
        ),
    ],
)
def test_errors_have_a_type_a_code_and_a_field(
    calls: Calls,
    method: str,
    fields: dict[str, Any],
    error: type[openai.APIStatusError],
    code: str,
    param: str | None,
) -> None:
    with pytest.raises(error) as raised:
        calls.do(method, **fields)
    assert (raised.value.code, raised.value.param) == (code, param)
    assert raised.value.request_id
    assert raised.value.type in {"invalid_request_error", "server_error"}


@pytest.mark.parametrize("method", [CHAT, EMBED, RESPOND])
def test_a_wrong_key(keyed: Callable[[str], Calls], method: str) -> None:
    fields: dict[str, Any] = {"messages": HI} if method == CHAT else {"input": "x"}
    with pytest.raises(openai.AuthenticationError) as raised:
        keyed("wrong").do(method, model="echo", **fields)
    assert raised.value.code == "invalid_api_key"


def test_a_model_outside_the_keys_list(keyed: Callable[[str], Calls]) -> None:
    with pytest.raises(openai.PermissionDeniedError) as raised:
        keyed("vectors-only").do(CHAT, model="echo", messages=HI)
    assert (raised.value.type, raised.value.code) == ("permission_error", "model_not_allowed")
    assert [model.id for model in keyed("vectors-only").do("models.list")] == [MINILM]


def test_a_key_at_its_limit_and_a_client_that_waits(keyed: Callable[[str], Calls]) -> None:
    calls = keyed("one-at-a-time")
    single: dict[str, Any] = {"model": "tiny", "messages": HI, "max_tokens": 400}
    with ThreadPoolExecutor(4) as pool:
        running = [pool.submit(calls.do, CHAT, **single, extra_body={"ignore_eos": True}) for _ in range(4)]
        errors = [future.exception() for future in running]
    limited = [error for error in errors if error is not None]
    assert limited
    assert len(limited) < 4
    for error in limited:
        assert isinstance(error, openai.RateLimitError)
        assert error.code == "concurrency_limit"
        assert error.response.headers["retry-after-ms"] == "1000"
    with ThreadPoolExecutor(2) as pool:
        patient = [
            pool.submit(calls.do, CHAT, options={"max_retries": 10}, **{**single, "max_tokens": 4})
            for _ in range(2)
        ]
        assert all(future.result().choices for future in patient)


def test_what_broke_is_not_tried_again(calls: Calls) -> None:
    with pytest.raises(openai.InternalServerError) as raised:
        calls.do(CHAT, options={"max_retries": 5}, model="failing", messages=BREAKS)
    assert raised.value.request.headers["x-stainless-retry-count"] == "0"
    assert raised.value.response.headers["x-should-retry"] == "false"


@pytest.mark.parametrize("method", [CHAT, COMPLETE])
def test_a_stream_that_breaks_raises(calls: Calls, method: str) -> None:
    # The echo continues a prompt only inside ChatML.
    prompt = "<|im_start|>user\nit goes boom now<|im_end|>\n<|im_start|>assistant\n"
    fields: dict[str, Any] = {"messages": BREAKS} if method == CHAT else {"prompt": prompt}
    with pytest.raises(openai.APIError, match="device is gone") as raised:
        calls.do(method, model="failing", stream=True, max_tokens=40, **fields)
    assert raised.value.code == "engine_failure"


def test_a_response_that_breaks_fails(calls: Calls) -> None:
    events = calls.do(RESPOND, model="failing", input=BREAKS[0]["content"], stream=True)
    assert events[-1].type == "response.failed"
    assert events[-1].response.error.message == "The device is gone."


def test_a_client_that_does_not_wait(calls: Calls) -> None:
    with pytest.raises(openai.APITimeoutError):
        calls.do(
            CHAT,
            options={"timeout": 0.05},
            model="tiny",
            messages=HI,
            n=4,
            max_tokens=900,
            extra_body={"ignore_eos": True},
        )
    answer = calls.do(CHAT, model="tiny", messages=HI, max_tokens=2)
    assert answer.choices


def test_a_server_that_is_not_there(calls: Calls) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        nowhere = f"http://127.0.0.1:{free.getsockname()[1]}/v1"
        with pytest.raises(openai.APIConnectionError):
            calls.do(CHAT, options={"base_url": nowhere}, model="echo", messages=HI)


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/v1/nothing", 404, "not_found"),
        ("GET", "/v1/chat/completions", 405, "invalid_request"),
        ("GET", "/v1/responses/resp_0", 404, "response_not_found"),
        ("DELETE", "/v1/responses/resp_0", 404, "response_not_found"),
        ("GET", "/v1/models/nothing", 404, "model_not_found"),
    ],
)
def test_the_body_of_an_error_is_openais(
    server: Server, method: str, path: str, status: int, code: str
) -> None:
    answer = httpx.request(method, f"{server.url}{path}", headers=server.headers)
    assert answer.status_code == status
    assert set(answer.json()["error"]) == {"message", "type", "param", "code"}
    assert answer.json()["error"]["code"] == code
