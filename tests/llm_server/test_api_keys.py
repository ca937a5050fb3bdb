"""What a limited key may do on a running server."""

from collections.abc import Iterator
from typing import Any

import httpx
import openai
import pytest
import yaml

from llm_server.settings import Settings
from tests.llm_server.conftest import ADMIN, USER, serving

HI: Any = [{"role": "user", "content": "hi"}]
LONG: Any = [{"role": "user", "content": "on and on " * 100}]
KEYS = [
    {"name": "one", "key": "one-at-a-time", "max_concurrent": 1},
    {"name": "slow", "key": "two-a-minute", "requests_per_minute": 2},
    {"name": "vectors", "key": "vectors-only", "models": ["all-*"]},
    {"name": "writer", "key": "writes-only", "models": ["ECHO"]},
    {"name": "root", "key": "root-of-the-file", "scopes": ["admin"]},
]


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    data = tmp_path_factory.mktemp("data")
    (data / "keys.yaml").write_text(yaml.safe_dump({"keys": KEYS}))
    settings = Settings(
        backend="echo", data=data, api_key=USER, admin_key=ADMIN, keys_file=data / "keys.yaml"
    )
    with serving(settings) as base:
        yield base


def client(url: str, key: str) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0)


def test_one_request_at_a_time_streams_counted_to_their_end(url: str) -> None:
    with client(url, "one-at-a-time") as one, client(url, USER) as other:
        stream = one.chat.completions.create(model="echo", messages=LONG, stream=True)
        next(iter(stream))
        with pytest.raises(openai.RateLimitError) as refused:
            one.chat.completions.create(model="echo", messages=HI)
        assert refused.value.code == "concurrency_limit"
        assert refused.value.response.headers["retry-after"] == "1"
        assert one.models.list().data
        assert other.chat.completions.create(model="echo", messages=HI).choices
        assert "".join(chunk.choices[0].delta.content or "" for chunk in stream) == LONG[0]["content"]
        assert one.with_options(max_retries=5).chat.completions.create(model="echo", messages=HI).choices


def test_a_client_that_leaves_gives_its_place_back(url: str) -> None:
    with client(url, "one-at-a-time") as one:
        stream = one.chat.completions.create(model="echo", messages=LONG, stream=True)
        next(iter(stream))
        stream.close()
        patient = one.with_options(max_retries=5)
        assert patient.chat.completions.create(model="echo", messages=HI).choices
        with pytest.raises(openai.BadRequestError):
            patient.chat.completions.create(model="all-minilm-l6-v2", messages=HI)
        assert patient.chat.completions.create(model="echo", messages=HI).choices


def test_requests_a_minute_with_the_time_to_wait(url: str) -> None:
    with client(url, "two-a-minute") as slow:
        for _ in range(2):
            slow.embeddings.create(model="all-minilm-l6-v2", input="x")
        with pytest.raises(openai.RateLimitError) as refused:
            slow.embeddings.create(model="all-minilm-l6-v2", input="x")
        headers = refused.value.response.headers
        assert 1 <= int(headers["retry-after"]) <= 60
        assert 0 < int(headers["retry-after-ms"]) <= 60_000
        assert slow.models.list().data


@pytest.mark.parametrize(
    ("key", "status"),
    [(USER, 403), ("one-at-a-time", 403), (ADMIN, 200), ("root-of-the-file", 200), ("wrong", 401), ("", 401)],
)
def test_scopes_of_every_kind_of_key(url: str, key: str, status: int) -> None:
    assert httpx.get(f"{url}/admin/slots", headers={"x-api-key": key}).status_code == status


@pytest.mark.parametrize("header", ["authorization", "x-api-key", "api-key"])
def test_the_headers_that_clients_use(url: str, header: str) -> None:
    value = f"Bearer {USER}" if header == "authorization" else USER
    assert httpx.get(f"{url}/v1/models", headers={header: value}).status_code == 200


def post(url: str, key: str, path: str, **body: Any) -> httpx.Response:
    return httpx.post(f"{url}{path}", json=body, headers={"x-api-key": key})


ASKING: list[tuple[str, dict[str, Any]]] = [
    ("/v1/chat/completions", {"messages": HI}),
    ("/v1/completions", {"prompt": "x"}),
    ("/v1/responses", {"input": "x"}),
    ("/v1/responses/input_tokens", {"input": "x"}),
    ("/v1/tokenize", {"content": "x"}),
]
EMBEDDING: list[tuple[str, dict[str, Any]]] = [
    ("/v1/embeddings", {"input": "x"}),
    ("/v1/rerank", {"query": "x", "documents": ["y"]}),
    ("/v1/tokenize", {"content": "x"}),
]


@pytest.mark.parametrize(("path", "body"), ASKING)
def test_a_model_outside_the_list_is_forbidden(url: str, path: str, body: dict[str, Any]) -> None:
    refused = post(url, "vectors-only", path, model="loopyard-starter", **body)
    assert refused.status_code == 403
    error = refused.json()["error"]
    assert (error["type"], error["code"], error["param"]) == (
        "permission_error",
        "model_not_allowed",
        "model",
    )
    assert post(url, "writes-only", path, model="loopyard-starter", **body).status_code == 200


@pytest.mark.parametrize(("path", "body"), EMBEDDING)
def test_embedding_models_have_their_list_too(url: str, path: str, body: dict[str, Any]) -> None:
    assert post(url, "writes-only", path, model="all-minilm-l6-v2", **body).status_code == 403
    assert post(url, "vectors-only", path, model="all-minilm-l6-v2", **body).status_code == 200


def test_a_key_sees_what_it_may_use(url: str) -> None:
    with client(url, "vectors-only") as vectors, client(url, USER) as everything:
        assert [model.id for model in vectors.models.list()] == ["all-minilm-l6-v2"]
        assert {"echo", "all-minilm-l6-v2"} <= {model.id for model in everything.models.list()}
        assert vectors.models.retrieve("all-minilm-l6-v2").id
        with pytest.raises(openai.PermissionDeniedError):
            vectors.models.retrieve("echo")
        with pytest.raises(openai.NotFoundError) as missing:
            vectors.models.retrieve("nothing")
        assert "all-minilm-l6-v2" in missing.value.message
        assert "echo" not in missing.value.message
