"""The unmodified Langfuse SDK, any line of it: whose a trace is, and the settings of a client."""

from __future__ import annotations

from typing import Any

import langfuse

from tests.contracts.langfuse_sdk import (
    call,
    listed,
    name,
    observations,
    program,
    quiet,
    scores,
    span,
    trace,
)
from tests.contracts.langfuse_server import TraceServer

pytestmark = quiet
PRINT = "import json; print(json.dumps(seen))"


@call("propagate_attributes", "propagate_attributes(tags)", "propagate_attributes(trace_name)")
def test_user_session_tags_and_name(client: Any) -> None:
    session, user = name("session"), name("user")
    with (
        langfuse.propagate_attributes(user_id=user, session_id=session, tags=["b", "a"], trace_name="title"),
        span(client, name="root") as made,
    ):
        pass
    found = trace(client, made.trace_id)
    assert (found.user, found.session, found.name) == (user, session, "title")
    assert sorted(found.tags) == ["a", "b"]


@call("propagate_attributes(version)", "propagate_attributes(metadata)")
def test_version_and_metadata(client: Any) -> None:
    with (
        langfuse.propagate_attributes(version="2026.11", metadata={"project": "handbook"}),
        span(client, name="root") as made,
        span(client, name="inner"),
    ):
        pass
    found = trace(client, made.trace_id)
    assert (found.version, found.metadata["project"]) == ("2026.11", "handbook")
    assert [o.version for o in observations(client, made.trace_id)] == ["2026.11"] * 2


@call("Langfuse(environment, release)", "shutdown")
def test_environment_and_release_of_a_program_that_shuts_down(client: Any, server: TraceServer) -> None:
    code = """
import langfuse
client = langfuse.Langfuse(environment="staging", release="v7", flush_at=1000, flush_interval=3)
with client.start_as_current_observation(name="pending") as made:
    seen = made.trace_id
client.shutdown()
"""
    found = trace(client, program(server, code + PRINT))
    assert (found.name, found.environment, found.release) == ("pending", "staging", "v7")


@call("Langfuse(mask)", "flush")
def test_a_mask_hides_before_anything_is_sent(client: Any, server: TraceServer) -> None:
    code = """
import langfuse, os
def mask(*, data, **_):
    return data.replace("4711", "****") if isinstance(data, str) else data
client = langfuse.Langfuse(mask=mask, flush_at=1000, flush_interval=600)
with client.start_as_current_observation(name="masked", input="PIN 4711") as made:
    made.update(output="4711 is right")
    seen = made.trace_id
client.flush()
print(__import__("json").dumps(seen), flush=True)
os._exit(0)  # nothing but the flush has sent it
"""
    (found,) = observations(client, program(server, code))
    assert (found.input, found.output) == ("PIN ****", "**** is right")


@call("get_client", "Langfuse(sample_rate)")
def test_nothing_of_a_sample_of_zero(client: Any, server: TraceServer) -> None:
    code = """
import langfuse
client = langfuse.get_client()
trace = client.create_trace_id()
with client.start_as_current_observation(name="left out", trace_context={"trace_id": trace}):
    pass
client.shutdown()
seen = [trace, client.auth_check()]
"""
    trace_id, could_send = program(server, code + PRINT, LANGFUSE_SAMPLE_RATE="0.0")
    assert could_send
    assert listed(client, trace_id=trace_id) == []


@call("Langfuse(tracing_enabled)")
def test_a_client_that_is_off_sends_nothing(client: Any, server: TraceServer) -> None:
    code = """
import langfuse
client = langfuse.Langfuse(tracing_enabled=False)
trace = client.create_trace_id()
with client.start_as_current_observation(name="off", trace_context={"trace_id": trace}):
    client.score_current_trace(name=trace, value=1.0)
client.shutdown()
seen = trace
"""
    trace_id = program(server, code + PRINT)
    assert listed(client, trace_id=trace_id) == []
    assert scores(client, name=trace_id) == []
