"""WHERE clauses, put together from what a request asks for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from starlette.datastructures import QueryParams

from gateway.traces.errors import BadTrace
from gateway.traces.values import micros, of_cursor

LIMIT = 1000
"""Most rows of a page."""
MOST_VALUES = 500
"""Most values of one filter: SQLite's own limit on variables is far higher, a page's worth is enough."""


FINE = {"id", "trace", "session", "user", "adapter", "run"}
"""Columns whose values few rows share: where one is asked for, its index is the one to go by."""
FEW = {"id", "trace"}
"""Those whose index is not in the order of time."""
COARSE = {"level": 0, "environment": 0, "name": 1, "prompt_hash": 2, "type": 3}
"""Columns whose values many rows share, and in which order their indexes are worth taking."""
USUAL = {"environment": "default", "level": "DEFAULT"}
"""What most rows have: the indexes of these columns know the other rows only, and have to be told so."""


@dataclass
class Conditions:
    """Column names come from our own tables of names, values are always bound.

    SQLite has no figures of what is in the columns, so it is told which index not to take: a plus before a
    column keeps it from the column's index.
    """

    texts: list[str] = field(default_factory=list)
    values: list[Any] = field(default_factory=list)
    coarse: list[tuple[int, int]] = field(default_factory=list)
    """Rank and place of the `texts` that begin with a coarse column."""
    is_fine: bool = False
    sorts: bool = False
    """Whether the rows are so few that sorting them beats walking through all rows in order."""

    def add(self, text: str, *values: Any) -> None:
        self.texts.append(text)
        self.values += values

    def any_of(self, column: str, values: Sequence[Any], negated: bool = False) -> None:
        if len(values) > MOST_VALUES:
            raise BadTrace(f"At most {MOST_VALUES} values can be asked for at once.")
        if len(values) == 1 and not negated:
            self.equal(column, values[0])
            return
        self.is_fine |= column in FINE and not negated
        self.sorts |= column in FINE and not negated
        # An index would find the rows of several values, and they would all have to be sorted.
        plus = "" if column in FINE else "+"
        marks = ", ".join("?" * len(values))
        self.add(f"{plus}{column} {'NOT IN' if negated else 'IN'} ({marks})", *values)

    def equal(self, column: str, value: str | float | None) -> None:
        if value is None:
            return
        self.is_fine |= column in FINE
        self.sorts |= column in FEW
        if column in COARSE:
            self.coarse.append((COARSE[column], len(self.texts)))
        self.add(f"{column} = ?", value)
        if value != USUAL.get(column, value):
            self.add(f"{column} <> '{USUAL[column]}'")

    def between(self, column: str, since: str | None, before: str | None) -> None:
        if since:
            self.add(f"{column} >= ?", micros(since))
        if before:
            self.add(f"{column} < ?", micros(before))

    def after(self, column: str, cursor: str | None) -> None:
        """The rows that follow a cursor's, the newest first."""
        if cursor:
            self.add(f"({column}, row) < (?, ?)", *of_cursor(cursor))

    def newest(self, column: str) -> str:
        """ORDER BY, the newest first. A plus keeps SQLite from walking through all rows in order of time."""
        return f"{'+' if self.sorts else ''}{column} DESC, row DESC"

    @property
    def sql(self) -> str:
        """At most one coarse column may use its index."""
        barred = {place for _, place in sorted(self.coarse)[0 if self.is_fine else 1 :]}
        return " AND ".join(f"+{text}" if at in barred else text for at, text in enumerate(self.texts))


def in_project(project: int) -> Conditions:
    return Conditions(["project = ?"], [project])


def number(params: QueryParams, name: str, default: int, most: int, least: int = 1) -> int:
    """Raises BadTrace for what is no whole number between the two."""
    text = params.get(name, "")
    if not text:
        return default
    if not text.isascii() or not text.isdigit() or not least <= int(text[:9]) <= most or len(text) > 9:
        raise BadTrace(f"{name} must be a whole number from {least} to {most}, not {text[:20]!r}.")
    return int(text)


def flag(params: QueryParams, name: str) -> bool | None:
    text = params.get(name)
    if text is None:
        return None
    if text.lower() not in ("true", "false"):
        raise BadTrace(f"{name} must be true or false, not {text[:20]!r}.")
    return text.lower() == "true"


def listed(params: QueryParams, name: str) -> list[str]:
    """The values of a parameter that may be repeated and may hold commas."""
    return [part for text in params.getlist(name) for part in text.split(",") if part]
