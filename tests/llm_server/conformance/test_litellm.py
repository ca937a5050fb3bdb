"""litellm as a client."""

import json
import os
from importlib import import_module
from typing import Any

import pytest

from tests.llm_server.conformance.calls import Server

# Read at import: without it litellm fetches a list of prices over the network.
os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
litellm: Any = import_module("litellm")

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
HI: Any = [{"role": "user", "content": "hello there"}]
CALL: Any = [{"role": "user", "content": 'call search {"query": "refund"}'}]
PARAMETERS = {"type": "object", "properties": {"query": {"type": "string"}}, "required": ["query"]}
TOOLS = [{"type": "function", "function": {"name": "search", "parameters": PARAMETERS}}]
SCHEMA = {"type": "object", "properties": {"a": {"enum": ["x", "y"]}}, "required": ["a"]}


@pytest.fixture
def where(server: Server) -> dict[str, Any]:
    return {"api_base": server.base, "api_key": server.key, "num_retries": 0}


@pytest.mark.parametrize("provider", ["openai", "hosted_vllm", "litellm_proxy"])
def test_an_answer_over_several_providers(where: dict[str, Any], provider: str) -> None:
    answer = litellm.completion(model=f"{provider}/echo", messages=HI, **where)
    assert answer.choices[0].message.content == "hello there"
    assert answer.usage.completion_tokens == len("hello there") + 1


@pytest.mark.parametrize("provider", ["openai", "hosted_vllm"])
def test_a_stream(where: dict[str, Any], provider: str) -> None:
    chunks = list(
        litellm.completion(
            model=f"{provider}/echo",
            messages=HI,
            stream=True,
            stream_options={"include_usage": True},
            **where,
        )
    )
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == "hello there"
    assert chunks[-1].usage.completion_tokens == len("hello there") + 1


@pytest.mark.parametrize("choice", ["auto", "required", "none"])
def test_tools(where: dict[str, Any], choice: str) -> None:
    answer = litellm.completion(
        model="openai/echo", messages=CALL, tools=TOOLS, tool_choice=choice, **where
    ).choices[0]
    if choice == "none":
        assert answer.message.tool_calls is None
    else:
        assert json.loads(answer.message.tool_calls[0].function.arguments) == {"query": "refund"}


def test_a_schema(where: dict[str, Any]) -> None:
    form = {"type": "json_schema", "json_schema": {"name": "a", "schema": SCHEMA, "strict": True}}
    answer = litellm.completion(model="openai/tiny", messages=HI, response_format=form, **where)
    assert json.loads(answer.choices[0].message.content)["a"] in {"x", "y"}


def test_thoughts(where: dict[str, Any]) -> None:
    messages = [{"role": "user", "content": "<think>hm</think>twelve"}]
    message = litellm.completion(model="openai/echo", messages=messages, **where).choices[0].message
    assert (message.reasoning_content, message.content) == ("hm", "twelve")


@pytest.mark.parametrize("form", ["float", "base64"])
def test_embeddings(where: dict[str, Any], form: str) -> None:
    answer = litellm.embedding(
        model="openai/all-minilm-l6-v2", input=["one", "two"], encoding_format=form, **where
    )
    assert len(answer.data) == 2
    if form == "float":
        assert len(answer.data[0]["embedding"]) == 384


def test_completions(where: dict[str, Any]) -> None:
    answer = litellm.text_completion(model="openai/tiny", prompt="once", max_tokens=3, **where)
    assert answer.choices[0].finish_reason in {"length", "stop"}


def test_responses(where: dict[str, Any]) -> None:
    answer = litellm.responses(model="openai/echo", input="hello", **where)
    assert answer.output[0].content[0].text == "hello"


@pytest.mark.parametrize("provider", ["jina_ai", "hosted_vllm"])
def test_reranking(where: dict[str, Any], provider: str) -> None:
    base = (
        where["api_base"].removesuffix("/v1") if provider == "hosted_vllm" else f"{where['api_base']}/rerank"
    )
    answer = litellm.rerank(
        model=f"{provider}/all-minilm-l6-v2",
        query="a b",
        documents=["c", "a b"],
        top_n=1,
        api_base=base,
        api_key=where["api_key"],
    )
    assert [result["index"] for result in answer.results] == [1]


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"model": "openai/gpt-99"}, "NotFoundError"),
        ({"model": "openai/echo", "api_key": "wrong"}, "AuthenticationError"),
        ({"model": "openai/echo", "api_key": "vectors-only"}, "APIError"),
        ({"model": "openai/all-minilm-l6-v2"}, "BadRequestError"),
        (
            {"model": "openai/echo", "messages": [{"role": "user", "content": "x" * 5000}]},
            "ContextWindowExceededError",
        ),
        (
            {"model": "openai/failing", "messages": [{"role": "user", "content": "it goes boom"}]},
            "InternalServerError",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_errors_are_its_own_types(where: dict[str, Any], fields: dict[str, Any], error: str) -> None:
    with pytest.raises(getattr(litellm.exceptions, error)):
        litellm.completion(**{"messages": HI, **where, **fields})


@pytest.mark.asyncio(loop_scope="module")
async def test_it_can_wait(where: dict[str, Any]) -> None:
    answer = await litellm.acompletion(model="openai/echo", messages=HI, **where)
    assert answer.choices[0].message.content == "hello there"
    stream = await litellm.acompletion(model="openai/echo", messages=HI, stream=True, **where)
    text = "".join([chunk.choices[0].delta.content or "" async for chunk in stream])
    assert text == "hello there"
