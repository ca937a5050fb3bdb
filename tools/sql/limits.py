"""How long and how much: what every query runs under, and how it is stopped from outside."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from tools.sql.catalog import Catalog


@dataclass(frozen=True)
class Limits:
    """Caps of one query: rows, bytes of cell text, characters of one cell, seconds."""

    rows: int
    bytes: int
    cell_chars: int
    seconds: float


class Stop:
    """Stops a running query from another thread: the caller went away, or its time is over."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._requested = False
        self._action: Callable[[], object] | None = None

    @property
    def requested(self) -> bool:
        """True once somebody asked the query to stop."""
        return self._requested

    def on_request(self, action: Callable[[], object] | None) -> None:
        """What to do when a stop is asked for; done at once where it already was."""
        with self._lock:
            self._action = action
            if self._requested and action is not None:
                action()

    def request(self) -> None:
        """Stop the query."""
        with self._lock:
            self._requested = True
            if self._action is not None:
                self._action()


class Engine(Protocol):
    """A database that can be looked at: what it holds, and one validated query at a time."""

    dialect: str

    def discover(self) -> Catalog:
        """The tables that a query may name. Blocking."""
        ...

    def fingerprint(self) -> str | None:
        """Changes when the schema changes; None where that cannot be known cheaply. Blocking."""
        ...

    def run(self, sql: str, limits: Limits, stop: Stop) -> tuple[list[str], list[Sequence[Any]]]:
        """Column names and at most `limits.rows` + 1 rows of a validated statement. Blocking."""
        ...

    def close(self) -> None:
        """Let go of every connection."""
        ...
