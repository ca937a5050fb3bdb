"""SQLite, opened so that nothing but reading user tables is possible, whatever text arrives.

The layers are independent of the validator: the file is opened with mode=ro, `query_only` is on, an
authorizer allows SELECT, READ and known functions and nothing else, a progress handler stops what runs
too long, and SQLITE_LIMIT_* bound strings, expressions and attached files
(https://sqlite.org/security.html, "Untrusted SQL Inputs").
"""

import sqlite3
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlalchemy import create_engine, inspect
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

from tools.errors import QueryFailed, QueryStopped, UnknownDatabase
from tools.sql import allowed
from tools.sql.catalog import Catalog
from tools.sql.discovery import read_catalog
from tools.sql.limits import Limits, Stop

OPCODES_PER_CHECK = 5_000
MAGIC = b"SQLite format 3\x00"
ENGINE_LIMITS = {
    sqlite3.SQLITE_LIMIT_LENGTH: 5_000_000,
    sqlite3.SQLITE_LIMIT_SQL_LENGTH: 100_000,
    sqlite3.SQLITE_LIMIT_COLUMN: 500,
    sqlite3.SQLITE_LIMIT_EXPR_DEPTH: 100,
    sqlite3.SQLITE_LIMIT_COMPOUND_SELECT: 20,
    sqlite3.SQLITE_LIMIT_FUNCTION_ARG: 50,
    sqlite3.SQLITE_LIMIT_ATTACHED: 0,
    sqlite3.SQLITE_LIMIT_LIKE_PATTERN_LENGTH: 200,
}
ROW_COUNTS_BELOW_BYTES = 256 * 1024 * 1024


class SqliteDatabase:
    """One SQLite file, read only."""

    dialect = "sqlite"

    def __init__(self, name: str, path: Path) -> None:
        """Look at the file; raises `UnknownDatabase` where it is no SQLite database."""
        self._name = name
        self._path = path
        if not path.is_file():
            raise UnknownDatabase(f"The file of database {name} is not there: {path.name}.")
        with path.open("rb") as file:
            head = file.read(len(MAGIC))
        if head not in (MAGIC, b""):
            raise UnknownDatabase(f"{path.name} is not an SQLite database.")

    def discover(self) -> Catalog:
        """Tables and views of the main schema, without SQLite's own."""
        engine = create_engine("sqlite://", creator=self._open, poolclass=NullPool)
        try:
            counts = self._path.stat().st_size < ROW_COUNTS_BELOW_BYTES
            return read_catalog(self._name, inspect(engine), "main", engine if counts else None)
        except (SQLAlchemyError, sqlite3.Error) as error:
            raise UnknownDatabase(f"Database {self._name} cannot be read: {_text(error)}") from error

    def fingerprint(self) -> str | None:
        """SQLite's schema version, which every change of the schema raises."""
        try:
            connection = self._open()
        except sqlite3.Error:
            return None
        try:
            return str(connection.execute("PRAGMA schema_version").fetchone()[0])
        except sqlite3.Error:
            return None
        finally:
            connection.close()

    def run(self, sql: str, limits: Limits, stop: Stop) -> tuple[list[str], list[Sequence[Any]]]:
        """Run one statement on a connection of its own."""
        deadline = time.monotonic() + limits.seconds
        connection = self._open_guarded(lambda: stop.requested or time.monotonic() > deadline)
        try:
            cursor = connection.execute(sql)
            rows = cursor.fetchmany(limits.rows + 1)
            return [column[0] for column in cursor.description or ()], rows
        except sqlite3.Error as error:
            if "interrupted" in str(error):
                raise QueryStopped(
                    f"The query was stopped after {limits.seconds:g} s. Narrow it with WHERE."
                ) from error
            raise QueryFailed(f"{error}. Change the statement and try again.") from error
        finally:
            connection.close()

    def close(self) -> None:
        """Nothing is kept open between queries."""

    def _open(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            f"file:{quote(str(self._path))}?mode=ro", uri=True, timeout=5.0, check_same_thread=False
        )
        connection.execute("PRAGMA query_only = 1")
        connection.execute("PRAGMA trusted_schema = 0")
        return connection

    def _open_guarded(self, over: Callable[[], bool]) -> sqlite3.Connection:
        connection = self._open()
        for limit, value in ENGINE_LIMITS.items():
            connection.setlimit(limit, value)
        connection.set_authorizer(_Authorizer(_user_tables(connection)))
        connection.set_progress_handler(lambda: 1 if over() else 0, OPCODES_PER_CHECK)
        return connection


def _user_tables(connection: sqlite3.Connection) -> frozenset[str]:
    rows = connection.execute("SELECT name FROM main.sqlite_master WHERE type IN ('table', 'view')")
    return frozenset(name.lower() for (name,) in rows if not name.lower().startswith("sqlite_"))


@dataclass(frozen=True)
class _Authorizer:
    """Lets SELECT read the user's tables with known functions; SQLite asks it while it compiles."""

    tables: frozenset[str]

    def __call__(self, action: int, first: str | None, second: str | None, *_: str | None) -> int:
        if action == sqlite3.SQLITE_SELECT:
            return sqlite3.SQLITE_OK
        if action == sqlite3.SQLITE_READ and (first or "").lower() in self.tables:
            return sqlite3.SQLITE_OK
        if action == sqlite3.SQLITE_FUNCTION and (second or "").lower() in allowed.SQLITE_ENGINE_FUNCTIONS:
            return sqlite3.SQLITE_OK
        return sqlite3.SQLITE_DENY


def _text(error: Exception) -> str:
    return str(getattr(error, "orig", None) or error).splitlines()[0]
