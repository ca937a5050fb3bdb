"""From a record to a span in the attributes of Langfuse's SDKs (langfuse/_client/attributes.py)."""

import json
import re
import secrets
from datetime import UTC, datetime
from typing import Any

from llm_server.tracing.answer import Answer, answer_of
from llm_server.tracing.record import Record

NAMES = {
    "/v1/chat/completions": "chat",
    "/v1/completions": "completion",
    "/v1/fim/completions": "fill-in-the-middle",
    "/infill": "fill-in-the-middle",
    "/v1/infill": "fill-in-the-middle",
    "/v1/responses": "response",
    "/v1/embeddings": "embedding",
}
"""The routes that are traced, and what their observations are called."""
OBSERVATION, METADATA = "langfuse.observation.", "langfuse.observation.metadata."
CONTENT = frozenset(
    {"model", "messages", "prompt", "suffix", "input", "input_prefix", "input_suffix", "input_extra", "tools"}
    | {"user", "metadata", "stream", "stream_options", "instructions", "safety_identifier"}
)
"""Fields of a request that are no parameters of the model."""
SESSIONS = ("langfuse_session_id", "session_id", "conversation_id")
USERS = ("langfuse_user_id", "user_id")
MOST_FACTS = 16
"""Entries of a client's metadata."""
LONGEST_ID = 200
"""Characters of a user's or a session's id; Langfuse refuses longer ones."""
GONE = 499
DIGEST = "@sha256:"
_TRACEPARENT = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f][13579bdf]")
"""Of a caller that samples: of another one there would be no parent to hang on."""

Attributes = dict[str, Any]


def span_of(record: Record) -> Any:
    """A ReadableSpan; one of the caller's own trace where its `traceparent` names one (W3C Trace Context)."""
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope
    from opentelemetry.trace import SpanContext, SpanKind, TraceFlags

    given = _TRACEPARENT.fullmatch(record.headers.get("traceparent", ""))
    trace, parent = (int(given[1], 16), int(given[2], 16)) if given else (0, 0)
    sampled = TraceFlags(TraceFlags.SAMPLED)
    context = SpanContext(
        trace or secrets.randbits(128) or 1, secrets.randbits(64) or 1, is_remote=False, trace_flags=sampled
    )
    above = SpanContext(trace, parent, is_remote=True, trace_flags=sampled) if trace and parent else None
    return ReadableSpan(
        name=NAMES[record.path],
        context=context,
        parent=above,
        kind=SpanKind.SERVER,
        resource=Resource({"service.name": "llm_server"}),
        attributes=attributes(record),
        start_time=_nanoseconds(record.started),
        end_time=_nanoseconds(record.ended),
        instrumentation_scope=InstrumentationScope("llm_server"),
    )


def attributes(record: Record) -> Attributes:
    """What a generation is: messages and tools, answer, tokens, times, exact model, user and session."""
    asked = _object(record.asked.read())
    answer = answer_of(record)
    name = NAMES[record.path]
    model = answer.model or asked.get("model") or None
    parameters = {key: value for key, value in asked.items() if key not in CONTENT and value is not None}
    out: Attributes = {
        f"{OBSERVATION}type": "embedding" if name == "embedding" else "generation",
        f"{OBSERVATION}input": _given(record, asked),
        f"{OBSERVATION}output": answer.output,
        f"{OBSERVATION}model.name": model if isinstance(model, str) else None,
        f"{OBSERVATION}model.parameters": parameters,
        f"{OBSERVATION}usage_details": _usage(record, answer),
        f"{OBSERVATION}completion_start_time": _instant(record.first_token),
        **_outcome(record, answer),
        **_whose(record, asked),
        "langfuse.internal.is_app_root": True,
        "langfuse.trace.name": name,
    }
    facts = {
        "route": record.path,
        "request_id": record.request_id or record.headers.get("x-request-id"),
        "key": record.key,
        "finish_reason": answer.reason,
        "cached_tokens": record.cached or None,
        "time_to_first_token": round(record.first_token - record.started, 6) if record.first_token else None,
        "cut": True if record.asked.cut or record.answered.cut else None,
        **_lineage(model),
    }
    facts = _metadata(asked) | {key: value for key, value in facts.items() if value is not None}
    out |= {f"{METADATA}{key}": json.dumps(value) for key, value in facts.items()}
    return {key: _written(key, value) for key, value in out.items() if value not in (None, {}, [], "")}


def _given(record: Record, asked: Attributes) -> Any:
    """Messages as the client sent them, tools beside them where there are any."""
    if not asked:
        return record.asked.read().decode("utf-8", errors="replace")
    told = asked.get("messages") or asked.get("prompt") or asked.get("input")
    beside = ("suffix", "instructions", "input_prefix", "input_suffix", "tools")
    parts = {key: asked[key] for key in beside if asked.get(key)}
    if not parts:
        return told
    named = next((key for key in ("messages", "prompt", "input") if asked.get(key)), None)
    return ({named: told} if named else {}) | parts


def _usage(record: Record, answer: Answer) -> dict[str, int]:
    """Tokens as the answer tells them; else as the engine counted them."""
    given, written = answer.tokens or (record.prompt, record.completion)
    return {"input": given, "output": written, "total": given + written} if given or written else {}


def _outcome(record: Record, answer: Answer) -> Attributes:
    level = f"{OBSERVATION}level", f"{OBSERVATION}status_message"
    if answer.error:
        return dict(zip(level, ("ERROR", answer.error), strict=True))
    if record.status == GONE or (not record.whole and record.status < 400):
        return dict(zip(level, ("WARNING", "the client left before the answer ended"), strict=True))
    if record.status >= 400:
        return dict(zip(level, ("ERROR", f"status {record.status}"), strict=True))
    return {}


def _whose(record: Record, asked: Attributes) -> Attributes:
    """User and session, as OpenAI's fields, Langfuse's integrations or Open WebUI's headers name them."""
    given = asked.get("metadata")
    metadata: Attributes = given if isinstance(given, dict) else {}
    user = asked.get("user") or asked.get("safety_identifier") or _first(metadata, USERS)
    session = _first(metadata, SESSIONS) or record.headers.get("x-openwebui-chat-id")
    user = user or record.headers.get("x-openwebui-user-id")
    tags = metadata.get("langfuse_tags") or ()
    tags = [part.strip() for part in tags.split(",")] if isinstance(tags, str) else list(tags)
    return {
        "user.id": str(user)[:LONGEST_ID] if user else None,
        "session.id": str(session)[:LONGEST_ID] if session else None,
        "langfuse.trace.tags": [str(tag)[:LONGEST_ID] for tag in tags if tag],
    }


def _metadata(asked: Attributes) -> Attributes:
    """The client's own, as many and as long names as OpenAI takes."""
    given = asked.get("metadata")
    said = {*SESSIONS, *USERS, "langfuse_tags"}
    pairs = list(given.items()) if isinstance(given, dict) else []
    return {_sound(key): value for key, value in pairs[:MOST_FACTS] if key not in said and len(key) <= 64}


def _lineage(model: object) -> dict[str, str]:
    """Base and adapter of an exact name, `base:adapter@sha256:1a2b`."""
    if not isinstance(model, str) or DIGEST not in model:
        return {}
    base, _, adapter = model.partition(":")
    return {"base_model": base, "adapter_version": adapter}


def _first(metadata: Attributes, names: tuple[str, ...]) -> Any:
    return next((metadata[name] for name in names if metadata.get(name)), None)


def _object(body: bytes) -> Attributes:
    try:
        found = json.loads(body)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _written(key: str, value: Any) -> Any:
    """Attributes are strings, but tags are a list of them. Times are JSON, as the SDK sends them."""
    if isinstance(value, bool):
        return value
    if key.endswith("completion_start_time"):
        return json.dumps(value)
    if key == "langfuse.trace.tags":
        return [_sound(tag) for tag in value]
    return _sound(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))


def _sound(text: str) -> str:
    """Half a surrogate pair, which JSON may hold, is no UTF-8: the whole batch would be lost with it."""
    return text.encode("utf-8", errors="replace").decode("utf-8")


def _instant(seconds: float | None) -> str | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).isoformat()


def _nanoseconds(seconds: float) -> int:
    return int(seconds * 1e9)
