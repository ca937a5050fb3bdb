"""Pages by number, as most of Langfuse's lists have them."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import Any

from starlette.datastructures import QueryParams

from gateway.traces.conditions import Conditions, number

MOST_COUNTED = 100_000
"""Rows that are counted for `totalItems`; where there are more, it says this many."""


def listed(
    connection: sqlite3.Connection,
    table: str,
    conditions: Conditions,
    params: QueryParams,
    shown: Callable[[sqlite3.Row], dict[str, Any]],
    order: str = "created DESC",
) -> dict[str, Any]:
    """One page by number as Langfuse answers it: {"data", "meta": {page, limit, totalItems, totalPages}}."""
    limit, at = number(params, "limit", 50, 1000), number(params, "page", 1, 1_000_000)
    where = f"FROM {table} WHERE {conditions.sql}"
    counted = f"SELECT count(*) FROM (SELECT 1 {where} LIMIT {MOST_COUNTED})"  # noqa: S608 - values are bound
    (total,) = connection.execute(counted, conditions.values).fetchone()
    query = f"SELECT * {where} ORDER BY {order} LIMIT ? OFFSET ?"
    rows = connection.execute(query, (*conditions.values, limit, (at - 1) * limit)).fetchall()
    meta = {"page": at, "limit": limit, "totalItems": total, "totalPages": -(-total // limit)}
    return {"data": [shown(row) for row in rows], "meta": meta}
