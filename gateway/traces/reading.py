"""GET /api/public/v2/observations: pages of observations, filtered, with the groups of fields asked for."""

from __future__ import annotations

import sqlite3
from typing import Any

from starlette.datastructures import QueryParams

from gateway.traces import filters
from gateway.traces.conditions import LIMIT, Conditions, flag, in_project, listed, number
from gateway.traces.errors import BadTrace
from gateway.traces.keys import KeyPair
from gateway.traces.observations import body_of, cost_of, tags_of
from gateway.traces.values import cursor_of, dumped, iso

GROUPS = {"core", "basic", "time", "io", "metadata", "model", "usage", "prompt", "metrics", "trace_context"}
NEED_BODY = {"basic", "time", "io", "metadata", "model", "usage", "prompt", "metrics"}
SHORT = 200
"""Characters of a metadata value that is not asked for by `expandMetadata`."""
EQUAL = {"name": "name", "userId": "user", "sessionId": "session", "type": "type", "traceId": "trace"}
EQUAL |= {"level": "level", "version": "version", "adapterVersion": "adapter", "promptHash": "prompt_hash"}
"""Parameters that are compared as they are; the last two are our own, for the lineage."""


def page(connection: sqlite3.Connection, project: int, key: KeyPair, params: QueryParams) -> dict[str, Any]:
    """{"data", "meta": {"cursor"}}; the newest first. Raises BadTrace."""
    groups = _groups(params)
    limit = number(params, "limit", 50, LIMIT)
    conditions = asked(project, params)
    conditions.after("started", params.get("cursor"))
    order = f"ORDER BY {conditions.newest('started')} LIMIT ?"
    query = f"SELECT * FROM observations WHERE {conditions.sql} {order}"  # noqa: S608 - values are bound
    rows = connection.execute(query, (*conditions.values, limit + 1)).fetchall()
    more, rows = len(rows) > limit, rows[:limit]
    whole = set(listed(params, "expandMetadata"))
    data = [_shown(connection, key, row, groups, whole) for row in rows]
    cursor = cursor_of(rows[-1]["started"], rows[-1]["row"]) if more else None
    return {"data": data, "meta": {"cursor": cursor}}


def _groups(params: QueryParams) -> set[str]:
    groups = set(listed(params, "fields")) or {"basic"}
    if unknown := groups - GROUPS:
        raise BadTrace(f"No fields {', '.join(sorted(unknown))}. Fields: {', '.join(sorted(GROUPS))}.")
    if flag(params, "parseIoAsJson"):
        raise BadTrace("parseIoAsJson is not supported: input and output are texts.")
    return groups


def asked(project: int, params: QueryParams) -> Conditions:
    """What a list of observations is narrowed to, in either of its shapes. Raises BadTrace."""
    conditions = in_project(project)
    if params.get("filter"):
        # As in Langfuse: a filter takes the place of the single parameters; the trace's id narrows both.
        filters.apply(conditions, params["filter"], filters.OBSERVATIONS)
        conditions.equal("trace", params.get("traceId"))
        return conditions
    for name, column in EQUAL.items():
        conditions.equal(column, params.get(name) or None)
    parent = params.get("parentObservationId")
    if parent == "":
        conditions.add("parent IS NULL")
    else:
        conditions.equal("parent", parent)
    root = flag(params, "isRootObservation")
    if root is not None:
        conditions.add("root = 1" if root else "root = 0")
    if environments := params.getlist("environment"):
        conditions.any_of("environment", environments)
    conditions.between("started", params.get("fromStartTime"), params.get("toStartTime"))
    return conditions


def _shown(
    connection: sqlite3.Connection, key: KeyPair, row: sqlite3.Row, groups: set[str], whole: set[str]
) -> dict[str, Any]:
    body = body_of(connection, row["row"]) if groups & NEED_BODY else {}
    shown: dict[str, Any] = {
        "id": row["id"],
        "traceId": row["trace"],
        "startTime": iso(row["started"]),
        "endTime": iso(row["ended"]),
        "projectId": key.project_id,
        "parentObservationId": row["parent"],
        "type": row["type"],
    }
    for group in sorted(groups - {"core"}):
        shown |= _GROUPS[group](row, body)
    if "metadata" in groups:
        shown["metadata"] = {n: v if n in whole else _short(v) for n, v in shown["metadata"].items()}
    return shown


def _basic(row: sqlite3.Row, body: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": row["name"],
        "level": row["level"],
        "statusMessage": body.get("statusMessage"),
        "version": row["version"],
        "environment": row["environment"],
        "bookmarked": False,
        "public": False,
        "userId": row["user"],
        "sessionId": row["session"],
        "isRootObservation": bool(row["root"]),
    }


def _time(row: sqlite3.Row, body: dict[str, Any]) -> dict[str, Any]:
    return {
        "completionStartTime": iso(body.get("completionStart")),
        "createdAt": iso(row["created"]),
        "updatedAt": iso(row["updated"]),
    }


def _io(_: sqlite3.Row, body: dict[str, Any]) -> dict[str, Any]:
    return {"input": body.get("input"), "output": body.get("output")}


def _metadata(_: sqlite3.Row, body: dict[str, Any]) -> dict[str, Any]:
    return {"metadata": {**body.get("traceMetadata", {}), **body.get("metadata", {})}}


def _model(row: sqlite3.Row, body: dict[str, Any]) -> dict[str, Any]:
    parameters = body.get("modelParameters")
    return {"model": row["model"], "internalModelId": None, "modelParameters": parameters}


def _usage(_: sqlite3.Row, body: dict[str, Any]) -> dict[str, Any]:
    return {
        "usageDetails": body.get("usageDetails") or {},
        "costDetails": body.get("costDetails") or {},
        "totalCost": cost_of(body),
        "usagePricingTierName": None,
    }


def _prompt(_: sqlite3.Row, body: dict[str, Any]) -> dict[str, Any]:
    return {
        "promptId": None,
        "promptName": body.get("promptName"),
        "promptVersion": body.get("promptVersion"),
    }


def _metrics(row: sqlite3.Row, body: dict[str, Any]) -> dict[str, Any]:
    first, ended = body.get("completionStart"), row["ended"]
    return {
        "latency": None if ended is None else (ended - row["started"]) / 1e6,
        "timeToFirstToken": None if first is None else (first - row["started"]) / 1e6,
    }


def _trace_context(row: sqlite3.Row, _: dict[str, Any]) -> dict[str, Any]:
    return {"tags": tags_of(row), "release": row["release"], "traceName": row["trace_name"]}


_GROUPS = {
    "basic": _basic,
    "time": _time,
    "io": _io,
    "metadata": _metadata,
    "model": _model,
    "usage": _usage,
    "prompt": _prompt,
    "metrics": _metrics,
    "trace_context": _trace_context,
}


def _short(value: Any) -> Any:
    text = value if isinstance(value, str) else dumped(value)
    return value if len(text) <= SHORT else text[:SHORT]
