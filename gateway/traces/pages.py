"""Pages by number, as most of Langfuse's lists have them."""

from __future__ import annotations

import sqlite3

from starlette.datastructures import QueryParams

from gateway.traces.conditions import Conditions, number


def paged(
    connection: sqlite3.Connection,
    table: str,
    conditions: Conditions,
    params: QueryParams,
    order: str = "created DESC",
) -> tuple[list[sqlite3.Row], dict[str, int]]:
    """One page by number, and Langfuse's meta of it: page, limit, totalItems, totalPages."""
    limit, at = number(params, "limit", 50, 1000), number(params, "page", 1, 1_000_000)
    where = f"FROM {table} WHERE {conditions.sql}"
    (total,) = connection.execute(f"SELECT count(*) {where}", conditions.values).fetchone()
    query = f"SELECT * {where} ORDER BY {order} LIMIT ? OFFSET ?"
    rows = connection.execute(query, (*conditions.values, limit, (at - 1) * limit)).fetchall()
    return rows, {"page": at, "limit": limit, "totalItems": total, "totalPages": -(-total // limit)}
