"""The unmodified Langfuse SDK against the embedded trace store, over real HTTP: spans, scores, LangGraph.

All of test_langfuse*.py runs with SDK 5 here, and with each line of the SDK in `test_sdk_versions`.
"""

from __future__ import annotations

from typing import Any, TypedDict

import langfuse
import pytest

from tests.contracts.langfuse_sdk import MAJOR, call, name, observations, only_5, quiet, scores, span
from tests.contracts.langfuse_server import TraceServer

pytestmark = quiet


@call("auth_check")
def test_auth_check(client: Any) -> None:
    assert client.auth_check() is True


@call("api.projects.get(unauthorised)")
def test_a_wrong_key_is_refused(server: TraceServer) -> None:
    other = langfuse.Langfuse(
        public_key="pk-lf-wrong", secret_key="sk-lf-wrong", host=server.host, tracing_enabled=False
    )
    with pytest.raises(Exception, match=r"401|[Uu]nauthor|secret key|credentials"):
        other.api.projects.get()


@call("api.projects.get")
def test_the_project(client: Any) -> None:
    (project,) = client.api.projects.get().data
    assert project.name == "default"


@call("api.health.health")
def test_health(client: Any) -> None:
    assert client.api.health.health().status == "OK"


def test_nested_spans(client: Any) -> None:
    with span(client, name="outer", input={"q": 1}) as outer:
        with span(client, name="inner") as inner:
            inner.update(output="done")
        outer.update(output={"a": 2})
    first, second = observations(client, outer.trace_id)
    assert (first.name, second.name) == ("outer", "inner")
    assert second.parent_observation_id == first.id == outer.id
    assert first.end_time >= second.end_time


@call("start_observation(usage_details)")
def test_a_generation_with_usage(client: Any) -> None:
    messages = [{"role": "user", "content": "Hi"}]
    with span(client, "generation", name="llm", model="base:a@sha256:1a2b3c4d5e6f", input=messages) as made:
        made.update(
            output={"role": "assistant", "content": "Hello"},
            usage_details={"input": 3, "output": 2, "total": 5},
            model_parameters={"temperature": 0.5},
        )
    (found,) = observations(client, made.trace_id)
    assert found.type == "GENERATION"
    assert found.model == "base:a@sha256:1a2b3c4d5e6f"
    assert found.usage_details == {"input": 3, "output": 2, "total": 5}
    assert "Hello" in str(found.output)


@call("start_observation(metadata)")
def test_metadata_keeps_its_types(client: Any) -> None:
    given = {"text": "v7", "number": 3, "list": [1, "a"], "text_of_a_number": "3"}
    with span(client, name="m", metadata=given) as made:
        pass
    (found,) = observations(client, made.trace_id)
    kept = {key: found.metadata[key] for key in given}
    if MAJOR < 5:  # they send texts as they are, which cannot be told from numbers
        given["text_of_a_number"] = kept["text_of_a_number"]
    assert kept == given


def test_an_error_shows(client: Any) -> None:
    with span(client, name="e") as made:
        made.update(level="ERROR", status_message="broke")
    (found,) = observations(client, made.trace_id)
    assert (str(getattr(found.level, "value", found.level)), found.status_message) == ("ERROR", "broke")


def test_a_trace_id_of_ones_own(client: Any) -> None:
    trace_id = client.create_trace_id(seed=name("seed"))
    with span(client, name="seeded", trace_context={"trace_id": trace_id}):
        pass
    assert observations(client, trace_id)[0].trace_id == trace_id


@call("observe")
def test_observe(client: Any, server: TraceServer) -> None:
    seen = []

    @langfuse.observe(name="decorated")
    def work(number: int) -> int:
        seen.append(client.get_current_trace_id())
        return number + 1

    # Two clients live in this process, so the call has to say whose it is.
    whose: Any = {"langfuse_public_key": server.public_key}
    assert work(1, **whose) == 2
    (found,) = observations(client, seen[0])
    assert (found.name, str(found.output)) == ("decorated", "2")


@only_5
def test_filters(client: Any) -> None:
    session = name("session")
    with (
        langfuse.propagate_attributes(session_id=session),
        span(client, name="root"),
        span(client, "generation", name="llm", model="m"),
    ):
        pass
    client.flush()
    get = client.api.observations.get_many
    assert [o.name for o in get(session_id=session, type="GENERATION").data] == ["llm"]
    assert [o.name for o in get(session_id=session, is_root_observation=True).data] == ["root"]
    by_filter = (
        f'[{{"type":"string","column":"sessionId","operator":"=","value":"{session}"}},'
        '{"type":"stringOptions","column":"name","operator":"any of","value":["llm","x"]}]'
    )
    assert [o.name for o in get(filter=by_filter).data] == ["llm"]
    with pytest.raises(Exception, match="nothing"):
        get(filter='[{"type":"string","column":"nothing","operator":"=","value":"x"}]')


@only_5
@pytest.mark.parametrize("kind", ["TEXT", "CORRECTION"])
def test_scores_that_are_texts(client: Any, kind: str) -> None:
    with span(client, name="scored") as made:
        pass
    score = name("score")
    entry = {"name": score, "value": "a better answer", "traceId": made.trace_id, "dataType": kind}
    client.api.scores.create(request=[langfuse.api.scores.ScoreBody(**entry)])
    (found,) = scores(client, name=score)
    assert (found.kind, found.value, found.about) == (kind, "a better answer", made.trace_id)


class GraphState(TypedDict):
    question: str
    answer: str


@call("langchain.CallbackHandler(graph)")
def test_a_langgraph_with_the_callback_handler(client: Any, server: TraceServer) -> None:
    from langchain_core.language_models.fake_chat_models import FakeListChatModel
    from langfuse.langchain import CallbackHandler
    from langgraph.graph import END, START, StateGraph

    model = FakeListChatModel(responses=["42"])

    def think(state: GraphState) -> dict[str, str]:
        return {"answer": str(model.invoke(state["question"]).content)}

    graph = StateGraph(GraphState)
    graph.add_node("think", think)
    graph.add_edge(START, "think")
    graph.add_edge("think", END)
    session, trace_id = name("session"), client.create_trace_id()
    handler = CallbackHandler(public_key=server.public_key, trace_context={"trace_id": trace_id})
    metadata = {
        "langfuse_session_id": session,
        "langfuse_user_id": "ada",
        "langfuse_tags": ["chat"],
        "adapter_version": "a@sha256:1a2b",
    }
    config: Any = {"callbacks": [handler], "metadata": metadata}
    done = graph.compile(name="clerk").invoke({"question": "6 x 7?", "answer": ""}, config)
    assert done["answer"] == "42"
    found = observations(client, trace_id)
    kinds = [o.type for o in found]
    assert "GENERATION" in kinds
    assert "CHAIN" in kinds
    (generation,) = [o for o in found if o.type == "GENERATION"]
    assert "6 x 7?" in str(generation.input)
    assert "42" in str(generation.output)
    assert generation.metadata["langgraph_node"] == "think"
    if MAJOR >= 5:
        assert {(o.session_id, o.user_id) for o in found} == {(session, "ada")}
        mine = '[{"type":"stringObject","column":"metadata","key":"adapter_version","operator":"=",'
        mine += '"value":"a@sha256:1a2b"}]'
        by_adapter = client.api.observations.get_many(filter=mine).data
        assert generation.id in {o.id for o in by_adapter}
