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


@dataclass
class Conditions:
    """Column names come from our own tables of names, values are always bound."""

    texts: list[str] = field(default_factory=list)
    values: list[Any] = field(default_factory=list)

    def add(self, text: str, *values: Any) -> None:
        self.texts.append(text)
        self.values += values

    def any_of(self, column: str, values: Sequence[Any], negated: bool = False) -> None:
        if len(values) > MOST_VALUES:
            raise BadTrace(f"At most {MOST_VALUES} values can be asked for at once.")
        marks = ", ".join("?" * len(values))
        self.add(f"{column} {'NOT IN' if negated else 'IN'} ({marks})", *values)

    def equal(self, column: str, value: str | None) -> None:
        if value is not None:
            self.add(f"{column} = ?", value)

    def between(self, column: str, since: str | None, before: str | None) -> None:
        if since:
            self.add(f"{column} >= ?", micros(since))
        if before:
            self.add(f"{column} < ?", micros(before))

    def after(self, column: str, cursor: str | None) -> None:
        """The rows that follow a cursor's, the newest first."""
        if cursor:
            self.add(f"({column}, row) < (?, ?)", *of_cursor(cursor))

    @property
    def sql(self) -> str:
        return " AND ".join(self.texts)


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
