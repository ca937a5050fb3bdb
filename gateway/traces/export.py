"""Every trace as a line of JSON, the oldest first, read a page at a time."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator

from gateway.traces import legacy
from gateway.traces.conditions import in_project
from gateway.traces.keys import KeyPair
from gateway.traces.session import Session
from gateway.traces.values import dumped

PAGE = 100
"""Traces that are read at once."""
Place = tuple[int, int]
"""Where a page ended: the start of its last trace and its row."""


async def lines(session: Session, since: str | None, before: str | None) -> AsyncIterator[bytes]:
    """Traces that began in a time, as `GET traces/{id}` has them: with observations and scores."""
    place: Place = (-1, -1)
    while True:
        text, last = await session.read(page, session.key, since, before, place)
        if last is None:
            return
        yield text
        place = last


def page(
    connection: sqlite3.Connection,
    project: int,
    key: KeyPair,
    since: str | None,
    before: str | None,
    place: Place,
) -> tuple[bytes, Place | None]:
    """The lines of a page, and its end; None after the last one. Raises BadTrace for what is no time."""
    conditions = in_project(project)
    conditions.between("started", since, before)
    conditions.add("(started, row) > (?, ?)", *place)
    query = f"SELECT id, started, row FROM traces WHERE {conditions.sql}"  # noqa: S608 - values are bound
    rows = connection.execute(f"{query} ORDER BY started, row LIMIT ?", (*conditions.values, PAGE)).fetchall()
    if not rows:
        return b"", None
    told = [dumped(legacy.get(connection, project, key, row["id"])) for row in rows]
    # A lone half of a surrogate pair, which UTF-8 cannot carry, becomes a question mark.
    text = "".join(f"{line}\n" for line in told).encode("utf-8", "replace")
    return text, (rows[-1]["started"], rows[-1]["row"])
