"""langchain-openai on the server."""

import json
from collections.abc import AsyncIterator
from typing import Any, Literal

import openai
import pytest
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_openai import ChatOpenAI, OpenAI, OpenAIEmbeddings
from pydantic import BaseModel, SecretStr

from tests.llm_server.conformance.calls import Server

CALL = 'call search {"query": "refund"}'


def search(query: str) -> str:
    """Finds documents."""
    return f"about {query}"


class Route(BaseModel):
    """Where a question goes."""

    target: Literal["documents", "database"]
    sure: bool


@pytest.fixture(params=[False, True], ids=["chat", "responses"])
def chat(server: Server, request: pytest.FixtureRequest) -> ChatOpenAI:
    """On both APIs."""
    return model(server, use_responses_api=request.param)


@pytest.fixture
async def pool() -> AsyncIterator[Any]:
    """Connections of one test; its own asynchronous ones would outlive the loop."""
    async with openai.DefaultAsyncHttpxClient() as client:
        yield client


@pytest.fixture
async def later(chat: ChatOpenAI, server: Server, pool: Any) -> ChatOpenAI:
    """The same for asynchronous calls."""
    return model(server, use_responses_api=chat.use_responses_api, http_async_client=pool)


def model(server: Server, name: str = "echo", **more: Any) -> ChatOpenAI:
    return ChatOpenAI(
        model=name,
        base_url=server.base,
        api_key=SecretStr(server.key),
        max_retries=0,
        stream_usage=True,
        **more,
    )


def test_an_answer_with_usage(chat: ChatOpenAI) -> None:
    answer = chat.invoke([SystemMessage("be kind"), HumanMessage("hello")])
    assert isinstance(answer, AIMessage)
    assert answer.text == "hello"
    assert answer.usage_metadata is not None
    assert answer.usage_metadata["output_tokens"] == len("hello") + 1


async def test_an_answer_later(later: ChatOpenAI) -> None:
    assert (await later.ainvoke("hello")).text == "hello"
    assert [answer.text for answer in await later.abatch(["a", "b"])] == ["a", "b"]


def test_a_stream_with_usage(chat: ChatOpenAI) -> None:
    pieces = list(chat.stream("hello there"))
    assert "".join(piece.text for piece in pieces) == "hello there"
    whole = pieces[0]
    for piece in pieces[1:]:
        whole = whole + piece
    assert whole.usage_metadata is not None
    assert whole.usage_metadata["output_tokens"] == len("hello there") + 1


async def test_a_stream_later(later: ChatOpenAI) -> None:
    assert "".join([piece.text async for piece in later.astream("hello there")]) == "hello there"


def test_a_tool_and_its_answer(chat: ChatOpenAI) -> None:
    agent = chat.bind_tools([search])
    first = agent.invoke(CALL)
    call = first.tool_calls[0]
    assert (call["name"], call["args"]) == ("search", {"query": "refund"})
    answer = agent.invoke([HumanMessage(CALL), first, ToolMessage("ten days", tool_call_id=call["id"])])
    assert answer.text == "ten days"


def test_a_tool_in_a_stream(chat: ChatOpenAI) -> None:
    whole: Any = None
    for piece in chat.bind_tools([search]).stream(CALL):
        whole = piece if whole is None else whole + piece
    assert whole.tool_calls[0]["args"] == {"query": "refund"}


@pytest.mark.parametrize("choice", ["any", "search", "none"])
def test_whether_a_tool_is_called(chat: ChatOpenAI, choice: str) -> None:
    answer = chat.bind_tools([search], tool_choice=choice).invoke("hello")
    assert [call["name"] for call in answer.tool_calls] == ([] if choice == "none" else ["search"])


@pytest.mark.parametrize("method", ["json_schema", "function_calling", "json_mode"])
def test_structured_output(chat: ChatOpenAI, method: Any) -> None:
    if method == "json_mode":
        bound = chat.bind(response_format={"type": "json_object"})
        assert isinstance(json.loads(bound.invoke("json").text), dict)
        return
    assert isinstance(chat.with_structured_output(Route, method=method).invoke("where?"), Route)


@pytest.mark.parametrize("limit", [1, 5])
def test_the_limit_arrives_under_its_newer_name(server: Server, limit: int) -> None:
    answer = model(server, "tiny", max_tokens=limit, extra_body={"ignore_eos": True}).invoke("x")
    assert answer.usage_metadata is not None
    assert answer.usage_metadata["output_tokens"] == limit
    assert answer.response_metadata["finish_reason"] == "length"


def test_log_probabilities(server: Server) -> None:
    answer = model(server, "tiny", logprobs=True, top_logprobs=2, max_tokens=3).invoke("x")
    assert all(len(score["top_logprobs"]) == 2 for score in answer.response_metadata["logprobs"]["content"])


def test_errors_are_openais(server: Server) -> None:
    with pytest.raises(openai.NotFoundError):
        model(server, "gpt-99").invoke("x")
    with pytest.raises(openai.AuthenticationError):
        model(Server(server.url, "wrong")).invoke("x")


def test_completions(server: Server) -> None:
    writer = OpenAI(
        model="tiny",
        base_url=server.base,
        api_key=SecretStr(server.key),
        max_tokens=4,
        temperature=0,
        max_retries=0,
    )
    assert writer.invoke("once") == "".join(writer.stream("once"))


@pytest.mark.parametrize("texts", [["one"], ["one", "two", "three"]])
async def test_embeddings(server: Server, pool: Any, texts: list[str]) -> None:
    # With the check it would fetch a tokenizer of OpenAI's over the network.
    embeddings = OpenAIEmbeddings(
        model="all-minilm-l6-v2",
        base_url=server.base,
        api_key=SecretStr(server.key),
        check_embedding_ctx_length=False,
        http_async_client=pool,
    )
    vectors = embeddings.embed_documents(texts)
    assert [len(vector) for vector in vectors] == [384] * len(texts)
    assert await embeddings.aembed_query(texts[0]) == pytest.approx(vectors[0])
