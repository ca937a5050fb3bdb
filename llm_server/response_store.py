"""Responses that clients may come back to, in one SQLite file.

Each owner (a key) has a quota in number and in bytes; what was used least recently gives way. An owner
never sees what belongs to another one.
"""

import json
import sqlite3
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llm_server.errors import PreparationFailed

FORMAT = 1
SCHEMA = """
CREATE TABLE IF NOT EXISTS responses (
  id TEXT PRIMARY KEY, owner TEXT NOT NULL, used REAL NOT NULL, size INTEGER NOT NULL,
  response TEXT NOT NULL, input TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS responses_by_use ON responses (owner, used);
"""
EVICT = """
DELETE FROM responses WHERE owner = :owner AND id NOT IN (
  SELECT id FROM (
    SELECT id, row_number() OVER newest AS place, sum(size) OVER newest AS total
    FROM responses WHERE owner = :owner
    WINDOW newest AS (ORDER BY used DESC, rowid DESC)
  ) WHERE place <= :count AND total <= :bytes
)
"""


@dataclass(frozen=True, slots=True)
class Stored:
    """A response object and the items that the model was shown for it."""

    response: dict[str, Any]
    input: list[dict[str, Any]]


class ResponseStore:
    """Any thread may call it; the file is made with the first response."""

    def __init__(self, path: Path, *, count: int, size: int, clock: Callable[[], float] = time.time) -> None:
        self._path, self._count, self._size, self._clock = path, count, size, clock
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None

    def put(self, owner: str, stored: Stored) -> None:
        """Keep it; one that is larger than the whole quota is not kept."""
        texts = (json.dumps(stored.response), json.dumps(stored.input))
        size = sum(len(text.encode()) for text in texts)
        with self._lock, self._open() as connection:
            connection.execute(
                "INSERT INTO responses VALUES (?, ?, ?, ?, ?, ?)",
                (stored.response["id"], owner, self._clock(), size, *texts),
            )
            connection.execute(EVICT, {"owner": owner, "count": self._count, "bytes": self._size})

    def get(self, owner: str, identity: str) -> Stored | None:
        """One of the owner's; being read keeps it longer."""
        if self._connection is None and not self._path.exists():
            return None
        with self._lock, self._open() as connection:
            row = connection.execute(
                "UPDATE responses SET used = ? WHERE id = ? AND owner = ? RETURNING response, input",
                (self._clock(), identity, owner),
            ).fetchone()
        return None if row is None else Stored(json.loads(row[0]), json.loads(row[1]))

    def delete(self, owner: str, identity: str) -> bool:
        """Whether there was one."""
        if self._connection is None and not self._path.exists():
            return False
        with self._lock, self._open() as connection:
            found = connection.execute("DELETE FROM responses WHERE id = ? AND owner = ?", (identity, owner))
            return found.rowcount > 0

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    def _open(self) -> sqlite3.Connection:
        """The connection, as a context that commits. PreparationFailed for a file of a newer format."""
        if self._connection is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._path.touch(mode=0o600)
            connection = sqlite3.connect(self._path, check_same_thread=False)
            found = connection.execute("PRAGMA user_version").fetchone()[0]
            if found > FORMAT:
                connection.close()
                raise PreparationFailed(
                    f"{self._path} has format {found}, this version reads {FORMAT}. Move it away."
                )
            connection.execute("PRAGMA journal_mode = WAL")
            connection.executescript(SCHEMA)
            connection.execute(f"PRAGMA user_version = {FORMAT}")
            self._connection = connection
        return self._connection
