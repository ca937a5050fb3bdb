"""The unmodified Langfuse SDK, any line of it: every way to write an observation, and what is read back."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

import langfuse
import pytest

from tests.contracts.langfuse_sdk import call, name, observations, output_of, quiet, span
from tests.contracts.langfuse_server import TraceServer

pytestmark = quiet
KINDS = ["span", "generation", "agent", "tool", "chain", "retriever", "embedding", "evaluator", "guardrail"]


def kinds(client: Any, trace_id: str) -> list[str]:
    return [o.type for o in observations(client, trace_id)]


@call("start_as_current_observation")
@pytest.mark.parametrize("kind", KINDS)
def test_a_current_observation_of_each_kind(client: Any, kind: str) -> None:
    with span(client, kind, name=kind, input={"of": kind}) as made:
        pass
    (found,) = observations(client, made.trace_id)
    assert (found.id, found.type, found.name) == (made.id, kind.upper(), kind)
    assert kind in str(found.input)


@call("start_observation", "observation.end")
@pytest.mark.parametrize("kind", KINDS)
def test_an_observation_of_each_kind_that_is_ended_by_hand(client: Any, kind: str) -> None:
    made = client.start_observation(as_type=kind, name=kind)
    made.end()
    (found,) = observations(client, made.trace_id)
    assert (found.id, found.type) == (made.id, kind.upper())
    assert found.end_time >= found.start_time


@call("observation.start_observation")
def test_a_child(client: Any) -> None:
    outer = client.start_observation(name="outer")
    outer.start_observation(name="inner", as_type="tool").end()
    outer.end()
    first, second = observations(client, outer.trace_id)
    assert (second.type, second.parent_observation_id) == ("TOOL", first.id)


@call("observation.start_as_current_observation")
def test_a_current_child(client: Any) -> None:
    outer = client.start_observation(name="outer")
    with (
        outer.start_as_current_observation(name="middle", as_type="agent"),
        span(client, "tool", name="inner"),
    ):
        pass
    outer.end()
    found = {o.name: o for o in observations(client, outer.trace_id)}
    assert found["middle"].parent_observation_id == outer.id
    assert found["inner"].parent_observation_id == found["middle"].id


@call("observation.update")
def test_an_update(client: Any) -> None:
    made = client.start_observation(name="before", input="q")
    made.update(name="after", output={"a": 1}, metadata={"k": "v"}, level="WARNING", status_message="slow")
    made.end()
    (found,) = observations(client, made.trace_id)
    assert (found.name, output_of(found), found.metadata["k"]) == ("after", {"a": 1}, "v")
    assert (str(getattr(found.level, "value", found.level)), found.status_message) == ("WARNING", "slow")


@call("update_current_span")
def test_the_current_span_is_updated(client: Any) -> None:
    with span(client, name="o") as made:
        client.update_current_span(output="later", version="v2")
    (found,) = observations(client, made.trace_id)
    assert (found.output, found.version) == ("later", "v2")


@call("update_current_generation")
def test_usage_and_cost_of_the_current_generation(client: Any) -> None:
    with span(client, "generation", name="llm") as made:
        client.update_current_generation(
            model="m",
            usage_details={"input": 3, "output": 2, "total": 5},
            cost_details={"input": 0.25, "output": 0.5, "total": 0.75},
        )
    (found,) = observations(client, made.trace_id)
    assert found.model == "m"
    assert found.usage_details == {"input": 3, "output": 2, "total": 5}
    assert found.cost_details == {"input": 0.25, "output": 0.5, "total": 0.75}


@call("start_observation(completion_start_time)")
def test_the_time_of_the_first_token(client: Any) -> None:
    at = datetime.now(UTC)
    made = client.start_observation(as_type="generation", name="llm", completion_start_time=at)
    made.end()
    (found,) = observations(client, made.trace_id)
    assert abs((found.completion_start_time - at).total_seconds()) < 0.001


@call("create_event")
def test_an_event_of_the_current_observation(client: Any) -> None:
    with span(client, name="outer") as made:
        client.create_event(name="happened", input="x", level="DEBUG")
    outer, event = observations(client, made.trace_id)
    assert (event.type, event.name, event.input) == ("EVENT", "happened", "x")
    assert event.parent_observation_id == outer.id


@call("observation.create_event")
def test_an_event_of_an_observation(client: Any) -> None:
    made = client.start_observation(name="outer")
    made.create_event(name="happened")
    made.end()
    assert kinds(client, made.trace_id) == ["SPAN", "EVENT"]


@call("get_current_trace_id", "get_current_observation_id")
def test_what_is_current(client: Any) -> None:
    with span(client, name="o") as made:
        seen = client.get_current_trace_id(), client.get_current_observation_id()
    (found,) = observations(client, made.trace_id)
    assert seen == (found.trace_id, found.id)


@call("create_trace_id", "start_observation(trace_context)")
def test_a_trace_goes_on_in_another_place(client: Any) -> None:
    seed = name("seed")
    trace_id = client.create_trace_id(seed=seed)
    assert client.create_trace_id(seed=seed) == trace_id
    first = client.start_observation(name="here", trace_context={"trace_id": trace_id})
    there = {"trace_id": trace_id, "parent_span_id": first.id}
    client.start_observation(name="there", trace_context=there).end()
    first.end()
    assert {o.name: o.parent_observation_id for o in observations(client, trace_id)}["there"] == first.id


@call("observe(as_type)")
def test_decorated_functions_nest(client: Any, server: TraceServer) -> None:
    seen = []

    @langfuse.observe(as_type="tool", capture_output=False)
    def look_up(word: str) -> str:
        return f"{word}: secret"

    @langfuse.observe(name="asked", as_type="agent")
    def answer(question: str) -> str:
        seen.append(client.get_current_trace_id())
        return look_up(question)

    # Two clients live in this process, so the call has to say whose it is.
    whose: Any = {"langfuse_public_key": server.public_key}
    assert answer("tea", **whose) == "tea: secret"
    outer, inner = observations(client, seen[0])
    assert (outer.type, outer.name, outer.output) == ("AGENT", "asked", "tea: secret")
    assert (inner.type, inner.name, inner.output) == ("TOOL", "look_up", None)
    assert inner.parent_observation_id == outer.id


@call("observe(async)")
def test_coroutines_keep_their_own_traces(client: Any, server: TraceServer) -> None:
    whose: Any = {"langfuse_public_key": server.public_key}

    @langfuse.observe(name="coroutine")
    async def work(number: int) -> str:
        await asyncio.sleep(0.01)
        with span(client, name=f"inner-{number}"):
            await asyncio.sleep(0.01)
        return str(client.get_current_trace_id())

    async def several() -> list[str]:
        return list(await asyncio.gather(*(work(n, **whose) for n in range(3))))

    traces = asyncio.run(several())
    assert len(set(traces)) == 3
    for number, trace_id in enumerate(traces):
        assert [o.name for o in observations(client, trace_id)] == ["coroutine", f"inner-{number}"]


@call("observe(generator)")
def test_a_generator_is_one_observation(client: Any, server: TraceServer) -> None:
    seen = []

    @langfuse.observe(as_type="generation")
    def stream() -> Any:
        seen.append(client.get_current_trace_id())
        yield "Hel"
        yield "lo"

    whose: Any = {"langfuse_public_key": server.public_key}
    assert "".join(stream(**whose)) == "Hello"
    (found,) = observations(client, seen[0])
    assert (found.type, found.output) == ("GENERATION", "Hello")


@call("observe(error)")
def test_an_exception_of_a_decorated_function(client: Any, server: TraceServer) -> None:
    seen = []

    @langfuse.observe
    def fail() -> None:
        seen.append(client.get_current_trace_id())
        raise ValueError("no such table")

    whose: Any = {"langfuse_public_key": server.public_key}
    with pytest.raises(ValueError, match="no such table"):
        fail(**whose)
    (found,) = observations(client, seen[0])
    assert str(getattr(found.level, "value", found.level)) == "ERROR"
    assert "no such table" in found.status_message


@call("api.opentelemetry.export_traces")
def test_spans_as_json(client: Any) -> None:
    trace_id = client.create_trace_id()
    times = {"startTimeUnixNano": "1790000000000000000", "endTimeUnixNano": "1790000001000000000"}
    one = {"traceId": trace_id, "spanId": "01" * 8, "name": "by hand", "kind": 1, **times}
    client.api.opentelemetry.export_traces(resource_spans=[{"scopeSpans": [{"spans": [one]}]}])
    (found,) = observations(client, trace_id)
    assert (found.name, found.latency) == ("by hand", 1.0)
