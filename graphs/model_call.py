"""The trace of a model call that no graph makes: a client's own request, passed on as it is.

It is written when the call is over, with the times that were noted meanwhile, so that nothing of it stands
between the client and the model.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

from langfuse import Langfuse, LangfuseChain, LangfuseGeneration, LangfuseOtelSpanAttributes
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, Tracer, use_span

Json = dict[str, Any]
NAME = "passed-through"
DIGEST = "@sha256:"
"""In the exact name of a model that answered with an adapter, `base:adapter@sha256:1a2b3c4d5e6f`."""
PARAMETERS = (
    *("temperature", "top_p", "max_tokens", "max_completion_tokens", "seed", "frequency_penalty"),
    *("presence_penalty", "tool_choice", "parallel_tool_calls", "logprobs", "top_logprobs"),
)
USAGE = {"input": "prompt_tokens", "output": "completion_tokens", "total": "total_tokens"}
"""Langfuse's names of what OpenAI's usage counts."""


@dataclass(frozen=True)
class ModelCall:
    """One chat completion. Times are nanoseconds since 1970.

    `asked` is the body of the request, `message` the assistant's message or what had come of it; `model` is
    the one that answered, by its exact name where the server says it. `problem` is why it did not end well:
    an ERROR, or a WARNING where the client went away.
    """

    asked: Mapping[str, Any]
    began: int
    ended: int
    message: Json
    model: str
    usage: Mapping[str, Any] = field(default_factory=dict)
    first: int | None = None
    problem: str = ""
    level: Literal["DEFAULT", "WARNING", "ERROR"] = "DEFAULT"
    logprobs: Json | None = None

    @property
    def input(self) -> Json:
        """What the model saw."""
        return {name: self.asked[name] for name in ("messages", "tools") if self.asked.get(name)}

    @property
    def prompt_hash(self) -> str:
        """Of the system message, as that of an agent's run."""
        first = self.asked["messages"][0]
        system = first["content"] if first["role"] == "system" else ""
        return hash_of(str(system))

    @property
    def ms(self) -> float:
        """How long it took."""
        return round((self.ended - self.began) / 1e6, 1)

    @property
    def first_ms(self) -> float | None:
        return round((self.first - self.began) / 1e6, 1) if self.first else None

    @property
    def tokens(self) -> dict[str, int]:
        return {
            kind: self.usage[name] for kind, name in USAGE.items() if isinstance(self.usage.get(name), int)
        }


def hash_of(prompt: str) -> str:
    """Twelve digits that name a prompt."""
    return hashlib.sha256(prompt.encode()).hexdigest()[:12]


def lineage(model: str) -> dict[str, str] | None:
    """Base model and adapter version of an exact name; other names say nothing of them."""
    if DIGEST not in model:
        return None
    base, _, adapter = model.partition(":")
    return {"base_model": base, "adapter_version": adapter}


def write(
    client: Langfuse, tracer: Tracer, trace_id: str, agent: str, call: ModelCall, cost: dict[str, float]
) -> str:
    """Two spans, the agent's and its model call's; the id of the latter.

    The attributes of the trace (session, user and so on) are those that are propagated around.
    """
    parent = SpanContext(
        int(trace_id, 16), RandomIdGenerator().generate_span_id(), True, TraceFlags(TraceFlags.SAMPLED)
    )
    with use_span(NonRecordingSpan(parent)):
        span = tracer.start_span(
            agent, start_time=call.began, attributes={LangfuseOtelSpanAttributes.AS_ROOT: True}
        )
    ending: Json = {"level": call.level, "status_message": call.problem} if call.problem else {}
    asked, answered = _last_user(call.asked["messages"]), call.message.get("content")
    root = LangfuseChain(otel_span=span, langfuse_client=client, input=asked, output=answered, **ending)
    with use_span(span, end_on_exit=False):
        inner = tracer.start_span(NAME, start_time=call.began)
    generation = LangfuseGeneration(
        otel_span=inner,
        langfuse_client=client,
        input=call.input,
        output=call.message,
        metadata={**(lineage(call.model) or {}), **({"logprobs": call.logprobs} if call.logprobs else {})},
        model=call.model,
        model_parameters=_parameters(call.asked),
        usage_details=call.tokens,
        cost_details=cost,
        completion_start_time=datetime.fromtimestamp(call.first / 1e9, UTC) if call.first else None,
        **ending,
    )
    generation.end(end_time=call.ended)
    root.end(end_time=call.ended)
    return str(generation.id)


def _last_user(messages: Sequence[Mapping[str, Any]]) -> Any:
    return next((m.get("content") for m in reversed(messages) if m["role"] == "user"), None)


def _parameters(asked: Mapping[str, Any]) -> Json:
    return {name: asked[name] for name in PARAMETERS if asked.get(name) is not None}
