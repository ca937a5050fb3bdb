"""Traces that go: those that are too old, and those of a person who wants to be forgotten."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass

from gateway.traces.values import dumped

TOGETHER = 200
"""Traces that are removed in one write, so that those who write at the same time wait for moments only."""
PAGES = 500
"""Free pages that are given back in one write."""

_MINE = "(SELECT value FROM json_each(?2))"
_BODIES = """
DELETE FROM bodies WHERE row IN (
  SELECT o.row FROM json_each(?2) AS j CROSS JOIN observations AS o
  WHERE o.project = ?1 AND o.trace = j.value)
"""
_OBSERVATIONS = f"DELETE FROM observations WHERE project = ?1 AND trace IN {_MINE}"  # noqa: S608 - ours
_SCORES = f"DELETE FROM scores WHERE project = ?1 AND trace IN {_MINE}"  # noqa: S608
_ITEMS = f"DELETE FROM dataset_items WHERE project = ?1 AND source_trace IN {_MINE}"  # noqa: S608
_TRACES = f"DELETE FROM traces WHERE project = ?1 AND id IN {_MINE} RETURNING session"  # noqa: S608
_SESSIONS = f"""
DELETE FROM sessions WHERE project = ?1 AND id IN {_MINE}
AND NOT EXISTS (SELECT 1 FROM traces WHERE traces.project = ?1 AND traces.session = sessions.id) RETURNING id
"""  # noqa: S608
_SESSION_SCORES = f"DELETE FROM scores WHERE project = ?1 AND session IN {_MINE}"  # noqa: S608
_OF_USER = (
    "SELECT id FROM traces WHERE project = ? AND user = ? LIMIT ?",
    # A trace has one user, the last that was named; its observations may name others.
    "SELECT DISTINCT trace FROM observations WHERE project = ? AND user = ? LIMIT ?",
)


@dataclass(frozen=True)
class Removed:
    """How much."""

    traces: int = 0
    observations: int = 0
    scores: int = 0
    items: int = 0
    """Items of datasets that were taken from one of the traces."""

    def __add__(self, other: Removed) -> Removed:
        return Removed(
            self.traces + other.traces,
            self.observations + other.observations,
            self.scores + other.scores,
            self.items + other.items,
        )


def remove(connection: sqlite3.Connection, project: int, traces: Sequence[str], and_items: bool) -> Removed:
    """Removes traces with their observations and scores, and sessions that are left with nothing.

    `and_items`: also what was copied from them into datasets.
    """
    asked = (project, dumped(list(traces)))
    connection.execute(_BODIES, asked)
    observations = connection.execute(_OBSERVATIONS, asked).rowcount
    scores = connection.execute(_SCORES, asked).rowcount
    items = connection.execute(_ITEMS, asked).rowcount if and_items else 0
    gone = connection.execute(_TRACES, asked).fetchall()
    sessions = sorted({session for (session,) in gone if session is not None})
    empty = connection.execute(_SESSIONS, (project, dumped(sessions))).fetchall()
    ids = dumped([session for (session,) in empty])
    scores += connection.execute(_SESSION_SCORES, (project, ids)).rowcount
    return Removed(len(gone), observations, scores, items)


def remove_user(connection: sqlite3.Connection, project: int, user: str) -> Removed:
    """Up to TOGETHER traces of a user, whole: with what others said in them. Nothing where none is left."""
    for query in _OF_USER:
        if found := [trace for (trace,) in connection.execute(query, (project, user, TOGETHER))]:
            return remove(connection, project, found, and_items=True)
    return Removed()


def remove_scores_by(connection: sqlite3.Connection, project: int, author: str) -> int:
    """The scores that a user gave, of whichever trace."""
    query = "DELETE FROM scores WHERE project = ? AND author = ?"
    return connection.execute(query, (project, author)).rowcount


def remove_older(connection: sqlite3.Connection, before: int) -> Removed:
    """Up to TOGETHER traces of each project that began before a time (microseconds)."""
    removed = Removed()
    for (project,) in connection.execute("SELECT id FROM projects").fetchall():
        query = "SELECT id FROM traces WHERE project = ? AND started < ? ORDER BY started LIMIT ?"
        found = [trace for (trace,) in connection.execute(query, (project, before, TOGETHER))]
        if found:
            removed += remove(connection, project, found, and_items=False)
    return removed


def give_back(connection: sqlite3.Connection) -> bool:
    """Shortens the file by up to PAGES free pages; whether there are more."""
    connection.execute(f"PRAGMA incremental_vacuum({PAGES})").fetchall()
    (free,) = connection.execute("PRAGMA freelist_count").fetchone()
    return bool(free)
