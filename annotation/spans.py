"""A second answer as a trace of its own: one generation, in OTLP's JSON.

(https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding; names of attributes are those of Langfuse's
SDKs.)
"""

import json
from datetime import datetime
from hashlib import sha256
from typing import Any

from rlhf.records import Trace

Json = dict[str, Any]
NAME = "second-answer"
ANSWERS = "second_answer_to"
"""Key of the metadata that names the trace whose prompt is answered once more. Whoever looks for pairs passes
such traces over: no user has read them."""


def second_answer(
    first: Trace,
    asked: Json,
    answer: Json,
    times: tuple[datetime, datetime],
    *,
    session: str | None,
    user: str | None,
    project: str | None,
) -> tuple[Trace, Json]:
    """Where the answer can be found, and the export that puts it there.

    The ids hang on what was asked alone: asked once more after a crash, it takes the place of the first.

    Args:
        asked, answer: the body of a chat completion and what came back, as OpenAI has them.
        times: when it was asked for and when it was there.
        user: who asked the first time; their traces are erased with them, and this is one of theirs.
    """
    digits = sha256(
        json.dumps([first.trace_id, first.generation_id, asked], sort_keys=True).encode()
    ).hexdigest()
    trace = Trace(trace_id=digits[:32], generation_id=digits[32:48], model=str(answer["model"]))
    options = {name: asked[name] for name in ("temperature", "max_tokens", "seed") if name in asked}
    said: Json = {
        "langfuse.trace.name": NAME,
        "langfuse.observation.type": "generation",
        "langfuse.observation.model.name": trace.model,
        "langfuse.observation.model.parameters": options,
        "langfuse.observation.input": {name: asked[name] for name in ("messages", "tools") if name in asked},
        "langfuse.observation.output": answer["choices"][0]["message"],
        "langfuse.observation.usage_details": _usage(answer.get("usage") or {}),
        f"langfuse.observation.metadata.{ANSWERS}": first.trace_id,
        "langfuse.observation.metadata.project": project,
        "session.id": session,
        "user.id": user,
    }
    began, ended = (str(int(at.timestamp() * 1_000_000) * 1000) for at in times)
    span = {
        "traceId": trace.trace_id,
        "spanId": trace.generation_id,
        "name": NAME,
        "kind": 1,
        "startTimeUnixNano": began,
        "endTimeUnixNano": ended,
        "attributes": [{"key": key, "value": _value(value)} for key, value in said.items() if value],
    }
    scoped = [{"scope": {"name": "loopyard.annotation"}, "spans": [span]}]
    return trace, {"resourceSpans": [{"resource": {"attributes": []}, "scopeSpans": scoped}]}


def _value(value: Any) -> Json:
    return {"stringValue": value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}


def _usage(usage: Json) -> dict[str, int]:
    names = {"input": "prompt_tokens", "output": "completion_tokens", "total": "total_tokens"}
    return {kind: usage[name] for kind, name in names.items() if isinstance(usage.get(name), int)}
