"""Traces and sessions as lists of their own: what SDK 3 and 4 read. SDK 5 reads observations only."""

from __future__ import annotations

import sqlite3
from functools import partial
from typing import Any

from starlette.datastructures import QueryParams

from gateway.traces import filters
from gateway.traces.conditions import Conditions, in_project
from gateway.traces.errors import NoSuch
from gateway.traces.keys import KeyPair
from gateway.traces.observations import body_of, cost_of, costs_of, tags_of
from gateway.traces.pages import listed
from gateway.traces.reading import asked
from gateway.traces.scores import shown_v1
from gateway.traces.values import decoded, iso, unpacked

MOST = 10_000
"""Most observations of a trace that are shown at once."""


def page(connection: sqlite3.Connection, project: int, key: KeyPair, params: QueryParams) -> dict[str, Any]:
    """GET /api/public/traces, the newest first. Raises BadTrace."""
    conditions = _asked(project, params)
    return listed(
        *(connection, "traces", conditions, params),
        lambda row: _listed(connection, project, key, row),
        order=conditions.newest("started"),
    )


def _asked(project: int, params: QueryParams) -> Conditions:
    """What the list is narrowed to. As in Langfuse, a filter takes the place of the single parameters."""
    conditions = in_project(project)
    if params.get("filter"):
        filters.apply(conditions, params["filter"], filters.TRACES)
        return conditions
    for name in ("name", "user", "session", "version", "release"):
        wire = {"user": "userId", "session": "sessionId"}.get(name, name)
        conditions.equal(name, params.get(wire) or None)
    conditions.equal("adapter", params.get("adapterVersion") or None)
    for tag in params.getlist("tags"):
        conditions.add("EXISTS (SELECT 1 FROM json_each(tags) WHERE value = ?)", tag)
    if environments := params.getlist("environment"):
        conditions.any_of("environment", environments)
    conditions.between("started", params.get("fromTimestamp"), params.get("toTimestamp"))
    return conditions


def get(connection: sqlite3.Connection, project: int, key: KeyPair, trace_id: str) -> dict[str, Any]:
    """GET /api/public/traces/{id}: the trace with its observations and scores. Raises NoSuch."""
    query = "SELECT * FROM traces WHERE project = ? AND id = ?"
    row = connection.execute(query, (project, trace_id)).fetchone()
    if row is None:
        raise NoSuch(f"No trace {trace_id!r} in this project.")
    found = _rows(connection, "observations", project, "trace", trace_id, "+started")
    scores = _rows(connection, "scores", project, "trace", trace_id, "timestamp")
    observations = [_observation(connection, o) for o in found]
    return _trace(connection, project, key, row) | {
        "latency": _latency(row),
        "totalCost": sum(o["calculatedTotalCost"] or 0.0 for o in observations),
        "observations": observations,
        "scores": [shown_v1(score) for score in scores],
    }


def page_observations(
    connection: sqlite3.Connection, project: int, key: KeyPair, params: QueryParams
) -> dict[str, Any]:
    """GET /api/public/observations: pages by number of what v2 pages by cursor. Raises BadTrace."""
    conditions = asked(project, params)
    order = conditions.newest("started")
    shown = partial(_observation, connection)
    return listed(connection, "observations", conditions, params, shown, order)


def get_observation(connection: sqlite3.Connection, project: int, observation_id: str) -> dict[str, Any]:
    """GET /api/public/observations/{id}. Raises NoSuch.

    Ids are unique within a trace, and an index for them alone would cost every span that is written. The
    index of both is walked through instead: some 0.2 s where a project has a million spans.
    """
    found = "SELECT row FROM observations WHERE project = ? AND id = ? LIMIT 1"
    query = f"SELECT * FROM observations WHERE row = ({found})"  # noqa: S608 - values are bound
    row = connection.execute(query, (project, observation_id)).fetchone()
    if row is None:
        raise NoSuch(f"No observation {observation_id!r} in this project.")
    return _observation(connection, row)


def page_sessions(
    connection: sqlite3.Connection, project: int, key: KeyPair, params: QueryParams
) -> dict[str, Any]:
    """GET /api/public/sessions: what the traces say of their sessions."""
    conditions = in_project(project)
    conditions.between("created", params.get("fromTimestamp"), params.get("toTimestamp"))
    if environments := params.getlist("environment"):
        conditions.any_of("environment", environments)
    return listed(connection, "sessions", conditions, params, lambda row: _session(key, row))


def get_session(connection: sqlite3.Connection, project: int, key: KeyPair, session: str) -> dict[str, Any]:
    """Raises NoSuch."""
    rows = _rows(connection, "traces", project, "session", session, "started")
    if not rows:
        raise NoSuch(f"No session {session!r} in this project.")
    first = {"id": session, "created": rows[0]["started"], "environment": rows[0]["environment"]}
    return _session(key, first) | {"traces": [_trace(connection, project, key, row) for row in rows]}


def _session(key: KeyPair, row: Any) -> dict[str, Any]:
    shown = {"id": row["id"], "createdAt": iso(row["created"]), "projectId": key.project_id}
    return shown | {"environment": row["environment"]}


def _rows(
    connection: sqlite3.Connection, table: str, project: int, column: str, value: str, order: str
) -> list[sqlite3.Row]:
    conditions = Conditions(["project = ?", f"{column} = ?"], [project, value])
    query = f"SELECT * FROM {table} WHERE {conditions.sql} ORDER BY {order}, row LIMIT {MOST}"  # noqa: S608 - ours
    return connection.execute(query, conditions.values).fetchall()


def _listed(connection: sqlite3.Connection, project: int, key: KeyPair, row: sqlite3.Row) -> dict[str, Any]:
    observations = _named(connection, "observations", project, row["id"])
    scores = _named(connection, "scores", project, row["id"])
    costs = [cost_of(body_of(connection, o["row"])) or 0.0 for o in observations]
    ids = {"observations": [o["id"] for o in observations], "scores": [s["id"] for s in scores]}
    return _trace(connection, project, key, row) | ids | {"latency": _latency(row), "totalCost": sum(costs)}


def _named(connection: sqlite3.Connection, table: str, project: int, trace_id: str) -> list[sqlite3.Row]:
    query = f"SELECT row, id FROM {table} WHERE project = ? AND trace = ? LIMIT {MOST}"  # noqa: S608 - ours
    return connection.execute(query, (project, trace_id)).fetchall()


def _latency(row: sqlite3.Row) -> float:
    """Seconds."""
    return float(((row["ended"] or row["started"]) - row["started"]) / 1e6)


def _trace(connection: sqlite3.Connection, project: int, key: KeyPair, row: sqlite3.Row) -> dict[str, Any]:
    """Input and output are the trace's own where a client gave them, else those of its root."""
    own, root = unpacked(row["body"]), _root_body(connection, project, row["id"])
    metadata = {**root.get("traceMetadata", {}), **root.get("metadata", {}), **(own.get("metadata") or {})}
    return {
        "id": row["id"],
        "timestamp": iso(row["started"]),
        "name": row["name"],
        "input": decoded(own.get("input", root.get("traceInput", root.get("input")))),
        "output": decoded(own.get("output", root.get("traceOutput", root.get("output")))),
        "sessionId": row["session"],
        "userId": row["user"],
        "release": row["release"],
        "version": row["version"],
        "metadata": metadata,
        "tags": tags_of(row),
        "public": bool(row["public"]),
        "environment": row["environment"],
        "projectId": key.project_id,
        "htmlPath": f"/project/{key.project_id}/traces/{row['id']}",
        "createdAt": iso(row["created"]),
        "updatedAt": iso(row["updated"]),
    }


def _root_body(connection: sqlite3.Connection, project: int, trace_id: str) -> dict[str, Any]:
    query = (
        "SELECT row FROM observations WHERE project = ? AND trace = ? AND root = 1 ORDER BY +started LIMIT 1"
    )
    found = connection.execute(query, (project, trace_id)).fetchone()
    return body_of(connection, found[0]) if found else {}


def _observation(connection: sqlite3.Connection, row: sqlite3.Row) -> dict[str, Any]:
    body = body_of(connection, row["row"])
    usage = body.get("usageDetails") or {}
    costs = costs_of(body)
    counted = {"input": usage.get("input", 0), "output": usage.get("output", 0)}
    first, ended = body.get("completionStart"), row["ended"]
    return {
        "id": row["id"],
        "traceId": row["trace"],
        "type": row["type"],
        "name": row["name"],
        "startTime": iso(row["started"]),
        "endTime": iso(ended),
        "completionStartTime": iso(first),
        "model": row["model"],
        "modelParameters": body.get("modelParameters") or {},
        "input": decoded(body.get("input")),
        "output": decoded(body.get("output")),
        "metadata": body.get("metadata") or {},
        "usage": {**counted, "total": usage.get("total", sum(counted.values())), "unit": "TOKENS"},
        "usageDetails": usage,
        "costDetails": costs,
        "level": row["level"],
        "statusMessage": body.get("statusMessage"),
        "parentObservationId": row["parent"],
        "version": row["version"],
        "environment": row["environment"],
        "promptId": None,
        "promptName": body.get("promptName"),
        "promptVersion": body.get("promptVersion"),
        "modelId": None,
        "inputPrice": None,
        "outputPrice": None,
        "totalPrice": None,
        "calculatedInputCost": costs.get("input"),
        "calculatedOutputCost": costs.get("output"),
        "calculatedTotalCost": cost_of(body),
        "latency": None if ended is None else (ended - row["started"]) / 1e6,
        "timeToFirstToken": None if first is None else (first - row["started"]) / 1e6,
        "createdAt": iso(row["created"]),
        "updatedAt": iso(row["updated"]),
    }
