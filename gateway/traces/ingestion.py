"""POST /api/public/ingestion: a batch of events, the way of the clients before OpenTelemetry.

SDK 3 sends its scores so; older clients and integrations send traces and observations, whose later events
change what the earlier ones said.
"""

from __future__ import annotations

import sqlite3
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic.alias_generators import to_camel

from gateway.ids import new_id
from gateway.traces import attributes, scores
from gateway.traces.errors import BadTrace
from gateway.traces.observations import TYPES, Observation, find
from gateway.traces.values import dumped, micros, now, packed, unpacked
from gateway.traces.writing import insert, note_trace

OBSERVATIONS = {"span", "generation", "event", "observation"}


class TraceBody(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, extra="ignore")

    id: str = ""
    timestamp: str | None = None
    name: str | None = None
    user_id: str | None = None
    session_id: str | None = None
    release: str | None = None
    version: str | None = None
    environment: str | None = None
    public: bool | None = None
    tags: list[str] | None = None
    input: Any = None
    output: Any = None
    metadata: Any = None


class ObservationBody(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, extra="ignore")

    id: str = ""
    trace_id: str | None = None
    type: str | None = None
    name: str | None = None
    start_time: str | None = None
    end_time: str | None = None
    completion_start_time: str | None = None
    parent_observation_id: str | None = None
    level: str | None = None
    status_message: str | None = None
    version: str | None = None
    environment: str | None = None
    model: str | None = None
    model_parameters: dict[str, Any] | None = None
    input: Any = None
    output: Any = None
    metadata: Any = None
    usage: dict[str, Any] | None = None
    usage_details: dict[str, Any] | None = None
    cost_details: dict[str, Any] | None = None
    prompt_name: str | None = None
    prompt_version: int | None = None


def take(connection: sqlite3.Connection, project: int, request: Any) -> dict[str, Any]:
    """{"successes", "errors"}: every event is answered on its own. Raises BadTrace for what is no batch."""
    batch = request.get("batch") if isinstance(request, dict) else None
    if not isinstance(batch, list):
        raise BadTrace("The body must have a list `batch`.")
    successes: list[dict[str, Any]] = []
    errors: list[dict[str, Any]] = []
    for event in batch:
        event_id = str(event.get("id", "")) if isinstance(event, dict) else ""
        try:
            _take_one(connection, project, event)
            successes.append({"id": event_id, "status": 201})
        except (ValidationError, BadTrace, UnicodeEncodeError) as error:
            errors.append({"id": event_id, "status": 400, "message": str(error), "error": BadTrace.name})
    return {"successes": successes, "errors": errors}


def _take_one(connection: sqlite3.Connection, project: int, event: Any) -> None:
    if not isinstance(event, dict) or not isinstance(event.get("type"), str):
        raise BadTrace("An event needs a type and a body.")
    kind, body = event["type"], event.get("body")
    if kind == "score-create":
        scores.insert(connection, project, scores.Score.model_validate(body))
    elif kind == "trace-create":
        _put_trace(connection, project, TraceBody.model_validate(body))
    elif kind.removesuffix("-create").removesuffix("-update") in OBSERVATIONS:
        _put_observation(connection, project, kind.partition("-")[0], ObservationBody.model_validate(body))
    elif kind != "sdk-log":
        raise BadTrace(f"No events of the type {kind!r} here.")


def _put_trace(connection: sqlite3.Connection, project: int, given: TraceBody) -> None:
    trace_id = given.id or new_id()
    note_trace(
        connection,
        project,
        Observation(
            id="",
            trace=trace_id,
            started=micros(given.timestamp) if given.timestamp else now(),
            session=given.session_id,
            user=given.user_id,
            environment=given.environment or "default",
            release=given.release,
            version=given.version,
            trace_name=given.name,
            tags=given.tags or (),
            public=bool(given.public),
        ),
    )
    query = "SELECT body FROM traces WHERE project = ? AND id = ?"
    (old,) = connection.execute(query, (project, trace_id)).fetchone()
    said = {"input": _text(given.input), "output": _text(given.output), "metadata": _mapping(given.metadata)}
    body = unpacked(old) | {name: value for name, value in said.items() if value is not None}
    change = "UPDATE traces SET body = ? WHERE project = ? AND id = ?"
    connection.execute(change, (packed(body), project, trace_id))


def _put_observation(connection: sqlite3.Connection, project: int, kind: str, given: ObservationBody) -> None:
    observation_id = given.id or new_id()
    trace_id = given.trace_id or observation_id
    o = find(connection, project, trace_id, observation_id)
    if o is None:
        o = Observation(observation_id, trace_id, started=now(), type=_type(kind, given.type))
    if given.start_time:
        o.started = micros(given.start_time)
    o.ended = micros(given.end_time) if given.end_time else o.ended
    o.parent = given.parent_observation_id or o.parent
    o.root = o.parent is None
    for name in ("name", "version", "environment", "model", "level"):
        setattr(o, name, getattr(given, name) or getattr(o, name))
    o.body |= _said(given)
    base, adapter = attributes.lineage(o.model, o.body.get("metadata") or {})
    o.base, o.adapter = base or o.base, adapter or o.adapter
    insert(connection, project, [o])


def _said(given: ObservationBody) -> dict[str, Any]:
    said = {
        "input": _text(given.input),
        "output": _text(given.output),
        "metadata": _mapping(given.metadata),
        "statusMessage": given.status_message,
        "modelParameters": given.model_parameters,
        "usageDetails": given.usage_details or _usage(given.usage),
        "costDetails": given.cost_details,
        "promptName": given.prompt_name,
        "promptVersion": given.prompt_version,
        "completionStart": micros(given.completion_start_time) if given.completion_start_time else None,
    }
    return {name: value for name, value in said.items() if value is not None}


def _type(kind: str, named: str | None) -> str:
    wanted = (named or kind).upper()
    return wanted if wanted in TYPES else "SPAN"


def _usage(usage: dict[str, Any] | None) -> dict[str, int] | None:
    """OpenAI's names, or Langfuse's."""
    if usage is None:
        return None
    names = {"input": "promptTokens", "output": "completionTokens", "total": "totalTokens"}
    found = {kind: usage.get(kind, usage.get(name)) for kind, name in names.items()}
    return {kind: value for kind, value in found.items() if isinstance(value, int)} or None


def _text(value: Any) -> str | None:
    return value if value is None or isinstance(value, str) else dumped(value)


def _mapping(value: Any) -> dict[str, Any] | None:
    return value if value is None or isinstance(value, dict) else {"metadata": value}
