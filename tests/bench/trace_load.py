"""Spans as the SDK writes them of chats: a root, a search, a tool call and a generation in each trace."""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Iterator

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, Span

START = 1_790_000_000
"""Seconds since 1970 of the first trace; the others follow, one a second."""
KINDS = (("clerk", "chain"), ("search", "retriever"), ("rag_search", "tool"), ("chat", "generation"))
"""Name and type of the spans of a trace."""
USERS, ADAPTERS, SESSION = 1000, 40, 5
"""Distinct users and adapter versions, and traces of one session."""
WORDS = ("notice", "period", "contract", "weeks", "employer", "leave", "sick", "days", "salary", "clause")


def adapter(number: int) -> str:
    return f"tone@sha256:{number % ADAPTERS:012x}"


def batches(traces: int, together: int, seed: int = 0, first: int = 0) -> Iterator[bytes]:
    """Exports, gzipped, of `together` traces each; four spans a trace."""
    draw = random.Random(seed)
    for start in range(first, first + traces, together):
        request = ExportTraceServiceRequest()
        group = request.resource_spans.add()
        group.resource.attributes.append(_pair("langfuse.environment", "default"))
        for number in range(start, min(start + together, first + traces)):
            _trace(group, number, draw)
        yield gzip.compress(request.SerializeToString(), 3)


def _trace(group: ResourceSpans, number: int, draw: random.Random) -> None:
    scope = group.scope_spans[0] if group.scope_spans else group.scope_spans.add()
    scope.scope.name = "langfuse-sdk"
    trace_id, root = draw.randbytes(16), draw.randbytes(8)
    question, answer = _text(draw, 12), _text(draw, 60)
    for place, (name, kind) in enumerate(KINDS):
        span: Span = scope.spans.add()
        span.trace_id, span.span_id = trace_id, draw.randbytes(8) if place else root
        span.parent_span_id = root if place else b""
        span.name = name
        span.start_time_unix_nano = (START + number) * 10**9 + place * 10**6
        span.end_time_unix_nano = span.start_time_unix_nano + 10**8
        said = {
            "langfuse.observation.type": kind,
            "langfuse.observation.input": question,
            "langfuse.observation.output": answer,
            "user.id": f"user-{number % USERS}",
            "session.id": f"session-{number // SESSION}",
            "langfuse.trace.name": "clerk",
            "langfuse.observation.metadata.langgraph_node": f'"{name}"',
            "langfuse.observation.metadata.langgraph_step": str(place),
            "langfuse.observation.metadata.prompt_hash": '"0123456789ab"',
        }
        if kind == "generation":
            said |= _generation(number, question, answer, draw)
        span.attributes.extend(_pair(name, value) for name, value in said.items())
        tags = AnyValue(array_value=ArrayValue(values=[AnyValue(string_value="general")]))
        span.attributes.append(KeyValue(key="langfuse.trace.tags", value=tags))


def _generation(number: int, question: str, answer: str, draw: random.Random) -> dict[str, str]:
    system = {"role": "system", "content": _text(draw, 80)}
    return {
        "langfuse.observation.input": json.dumps([system, {"role": "user", "content": question}]),
        "langfuse.observation.output": json.dumps({"role": "assistant", "content": answer}),
        "langfuse.observation.model.name": f"starter:{adapter(number)}",
        "langfuse.observation.model.parameters": '{"temperature": 0.2, "max_tokens": 512}',
        "langfuse.observation.usage_details": '{"input": 120, "output": 80, "total": 200}',
    }


def _text(draw: random.Random, words: int) -> str:
    return " ".join(draw.choices(WORDS, k=words))


def _pair(name: str, value: str) -> KeyValue:
    return KeyValue(key=name, value=AnyValue(string_value=value))
