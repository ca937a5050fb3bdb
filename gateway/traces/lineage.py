"""Which adapter answered whom: from a version to its traces, and from a user to the versions."""

from __future__ import annotations

import sqlite3
from typing import Any

from starlette.datastructures import QueryParams

from gateway.traces.conditions import in_project, number
from gateway.traces.errors import BadTrace
from gateway.traces.values import cursor_of, iso, of_cursor

MOST = 10_000
"""Most traces of a page."""
_OF_USER = """
SELECT adapter, count(*) AS observations, min(started) AS first, max(started) AS last FROM observations
WHERE project = ? AND user = ? AND adapter IS NOT NULL GROUP BY adapter ORDER BY adapter
"""


def adapters_of(connection: sqlite3.Connection, project: int, user: str) -> list[dict[str, Any]]:
    """The adapter versions that answered a user: adapterVersion, observations, first and last time."""
    return [
        {
            "adapterVersion": row["adapter"],
            "observations": row["observations"],
            "first": iso(row["first"]),
            "last": iso(row["last"]),
        }
        for row in connection.execute(_OF_USER, (project, user))
    ]


def asked(connection: sqlite3.Connection, project: int, params: QueryParams) -> dict[str, Any]:
    """GET /api/public/lineage?userId= or ?adapterVersion=. Raises BadTrace."""
    user, adapter = params.get("userId"), params.get("adapterVersion")
    if user and not adapter:
        return {"data": adapters_of(connection, project, user), "meta": {"cursor": None}}
    if adapter and not user:
        return _traces_of(connection, project, adapter, params)
    raise BadTrace("Ask with userId or with adapterVersion.")


def _traces_of(
    connection: sqlite3.Connection, project: int, adapter: str, params: QueryParams
) -> dict[str, Any]:
    """Observations that a version answered with their traces, the newest first."""
    limit = number(params, "limit", MOST, MOST)
    conditions = in_project(project)
    conditions.equal("adapter", adapter)
    if cursor := params.get("cursor"):
        conditions.add("(started, row) < (?, ?)", *of_cursor(cursor))
    query = f"SELECT trace, started, row FROM observations WHERE {conditions.sql}"  # noqa: S608 - bound
    rows = connection.execute(
        f"{query} ORDER BY started DESC, row DESC LIMIT ?", (*conditions.values, limit + 1)
    ).fetchall()
    more, rows = len(rows) > limit, rows[:limit]
    times: dict[str, int] = {}
    for row in rows:
        times.setdefault(row["trace"], row["started"])
    data = [{"traceId": trace, "last": iso(at)} for trace, at in times.items()]
    return {
        "data": data,
        "meta": {"cursor": cursor_of(rows[-1]["started"], rows[-1]["row"]) if more else None},
    }
