"""The unmodified Langfuse SDK, any line of it: its callback handler in LangChain's runnables."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from tests.contracts.langfuse_sdk import call, name, observations, quiet, span, trace
from tests.contracts.langfuse_server import TraceServer

pytestmark = quiet


@pytest.fixture
def handled(client: Any, server: TraceServer) -> tuple[str, dict[str, Any]]:
    """A trace's id, and a configuration that sends what runs with it there."""
    from langfuse.langchain import CallbackHandler

    trace_id = client.create_trace_id()
    handler = CallbackHandler(public_key=server.public_key, trace_context={"trace_id": trace_id})
    return trace_id, {"callbacks": [handler]}


@pytest.fixture
def traced(client: Any, server: TraceServer) -> Callable[[Callable[[Any], Any]], Any]:
    """Runs something inside a span with a configuration, and gives the one observation that it made there."""
    from langfuse.langchain import CallbackHandler

    def run(work: Callable[[Any], Any]) -> Any:
        with span(client, name="outer") as outer:
            work({"callbacks": [CallbackHandler(public_key=server.public_key)]})
        (found,) = [o for o in observations(client, outer.trace_id) if o.id != outer.id]
        assert found.parent_observation_id == outer.id
        return found

    return run


def chat(*responses: str) -> Any:
    from langchain_core.language_models.fake_chat_models import FakeListChatModel

    return FakeListChatModel(responses=list(responses))


def prompt() -> Any:
    from langchain_core.prompts import ChatPromptTemplate

    return ChatPromptTemplate.from_messages([("system", "Be brief."), ("user", "{question}")])


@call("langchain.CallbackHandler(chain)")
def test_a_chain(client: Any, handled: Any) -> None:
    from langchain_core.output_parsers import StrOutputParser

    trace_id, config = handled
    chain = prompt() | chat("42") | StrOutputParser()
    assert chain.invoke({"question": "6 x 7?"}, config) == "42"
    found = {o.name: o for o in observations(client, trace_id)}
    (outer,) = [
        o for o in found.values() if o.type == "CHAIN" and "6 x 7?" in str(o.input) and "42" in str(o.output)
    ]
    (generation,) = [o for o in found.values() if o.type == "GENERATION"]
    assert generation.parent_observation_id == outer.id
    assert "Be brief." in str(generation.input)
    assert "42" in str(generation.output)


@call("langchain.CallbackHandler(metadata)")
def test_session_user_and_tags_of_a_run(client: Any, handled: Any) -> None:
    trace_id, config = handled
    session, user = name("session"), name("user")
    about = {"langfuse_session_id": session, "langfuse_user_id": user, "langfuse_tags": ["chat"]}
    (prompt() | chat("42")).invoke({"question": "?"}, {**config, "metadata": about})
    found = trace(client, trace_id)
    assert (found.session, found.user, found.tags) == (session, user, ["chat"])


@call("langchain.CallbackHandler(stream)")
def test_a_stream_is_one_generation_with_its_first_token(traced: Any) -> None:
    said = []
    found = traced(lambda config: said.extend(chat("Hello").stream("Hi", config)))
    assert "".join(chunk.content for chunk in said) == "Hello"
    assert (found.type, "Hello" in str(found.output)) == ("GENERATION", True)
    assert found.start_time <= found.completion_start_time <= found.end_time


@call("langchain.CallbackHandler(astream)")
def test_a_stream_in_a_coroutine(traced: Any) -> None:
    async def stream(config: Any) -> None:
        assert "".join([chunk.content async for chunk in chat("Hello").astream("Hi", config)]) == "Hello"

    found = traced(lambda config: asyncio.run(stream(config)))
    assert (found.type, "Hello" in str(found.output)) == ("GENERATION", True)


@call("langchain.CallbackHandler(llm)")
def test_a_model_that_completes_text(traced: Any) -> None:
    from langchain_core.language_models.fake import FakeListLLM

    found = traced(lambda config: FakeListLLM(responses=["blue"]).invoke("The sky is", config))
    assert found.type == "GENERATION"
    assert ("The sky is" in str(found.input), "blue" in str(found.output)) == (True, True)


@call("langchain.CallbackHandler(usage)")
def test_tokens_of_a_model(traced: Any) -> None:
    from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
    from langchain_core.messages import AIMessage

    usage: Any = {"input_tokens": 7, "output_tokens": 2, "total_tokens": 9}
    model = GenericFakeChatModel(messages=iter([AIMessage("42", usage_metadata=usage)]))
    found = traced(lambda config: model.invoke("?", config))
    counted = {kind: found.usage_details[kind] for kind in ("input", "output", "total")}
    assert counted == {"input": 7, "output": 2, "total": 9}


@call("langchain.CallbackHandler(tool)")
def test_a_tool(traced: Any) -> None:
    from langchain_core.tools import tool

    @tool
    def add(a: int, b: int) -> int:
        """Adds."""
        return a + b

    found = traced(lambda config: add.invoke({"a": 2, "b": 3}, config))
    assert (found.type, found.name, "5" in str(found.output)) == ("TOOL", "add", True)


@call("langchain.CallbackHandler(retriever)")
def test_a_retriever(traced: Any) -> None:
    from langchain_core.documents import Document
    from langchain_core.retrievers import BaseRetriever

    class Shelf(BaseRetriever):
        def _get_relevant_documents(self, query: str, **_: Any) -> list[Document]:
            return [Document(page_content=f"about {query}")]

    found = traced(lambda config: Shelf().invoke("tea", config))
    assert found.type == "RETRIEVER"
    assert ("tea" in str(found.input), "about tea" in str(found.output)) == (True, True)


@call("langchain.CallbackHandler(error)")
def test_a_chain_that_fails(client: Any, handled: Any) -> None:
    from langchain_core.runnables import RunnableLambda

    def broken(_: Any) -> Any:
        raise ValueError("no such table")

    trace_id, config = handled
    with pytest.raises(ValueError, match="no such table"):
        RunnableLambda(broken).invoke("q", config)
    (found,) = observations(client, trace_id)
    assert str(getattr(found.level, "value", found.level)) == "ERROR"
    assert "no such table" in found.status_message


@call("langchain.CallbackHandler(agent)")
def test_an_agent_that_calls_a_tool(client: Any, handled: Any) -> None:
    from langchain.agents import create_agent
    from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
    from langchain_core.messages import AIMessage

    class Model(GenericFakeChatModel):
        def bind_tools(self, tools: Any, **_: Any) -> Any:
            return self

    def look_up(word: str) -> str:
        """Looks a word up."""
        return f"{word} is a drink"

    wanted: Any = [{"name": "look_up", "args": {"word": "tea"}, "id": "1"}]
    model = Model(messages=iter([AIMessage("", tool_calls=wanted), AIMessage("A drink.")]))
    trace_id, config = handled
    asked: Any = {"messages": [("user", "What is tea?")]}
    done = create_agent(model, [look_up]).invoke(asked, config)
    assert done["messages"][-1].content == "A drink."
    found = observations(client, trace_id)
    (tool,) = [o for o in found if o.type == "TOOL"]
    assert (tool.name, "tea is a drink" in str(tool.output)) == ("look_up", True)
    assert len([o for o in found if o.type == "GENERATION"]) == 2
    assert {o.trace_id for o in found} == {trace_id}
