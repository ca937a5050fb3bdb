"""The databases of a project: from an address to an engine, with the schema remembered."""

import time
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from tools.context import Caller, Database
from tools.errors import UnknownDatabase
from tools.sql.catalog import Catalog, nearest
from tools.sql.limits import Engine
from tools.sql.postgres import PostgresDatabase
from tools.sql.sqlite import SqliteDatabase

SCHEMA_SECONDS = 60.0


@dataclass
class _Remembered:
    catalog: Catalog
    fingerprint: str | None
    until: float


class Databases:
    """Opens databases by the addresses of the call, and keeps what was learnt of their schemas.

    Addresses are never kept beyond the call: the memory is keyed by a hash of them.
    """

    def __init__(self) -> None:
        self._remembered: dict[tuple[str, int], _Remembered] = {}

    def choose(self, caller: Caller, name: str | None) -> Database:
        """The named database of the caller's project; without a name the only one, else the first."""
        names = [database.name for database in caller.databases]
        if not names:
            raise UnknownDatabase("This project has no database. Answer from the documents, or say so.")
        if name is None:
            return caller.databases[0]
        for database in caller.databases:
            if database.name.lower() == name.lower():
                return database
        near = nearest(name, names)
        hint = f" Did you mean {near[0]}?" if near else ""
        raise UnknownDatabase(f"no such database: {name}.{hint} Databases: {', '.join(names)}")

    def open(self, database: Database) -> Engine:
        """An engine for the address; raises `UnknownDatabase` where the address cannot be used."""
        url = _parsed(database)
        if url.get_backend_name() == "sqlite":
            return SqliteDatabase(database.name, _sqlite_path(database.name, url))
        if url.get_backend_name() == "postgresql":
            return PostgresDatabase(database.name, url)
        raise UnknownDatabase(
            f"Database {database.name} is of the kind {url.get_backend_name()}; use sqlite or postgresql."
        )

    def catalog(self, database: Database, engine: Engine, fresh: bool = False) -> Catalog:
        """The schema, read again when it changed, when it is old, or when `fresh`. Blocking."""
        key = (database.name, hash(database.url))
        mark = engine.fingerprint()
        known = self._remembered.get(key)
        if known and not fresh and mark == known.fingerprint and time.monotonic() < known.until:
            return known.catalog
        catalog = engine.discover()
        self._remembered[key] = _Remembered(catalog, mark, time.monotonic() + SCHEMA_SECONDS)
        return catalog


def _parsed(database: Database) -> URL:
    try:
        return make_url(database.url)
    except ArgumentError as error:
        raise UnknownDatabase(
            f"The address of database {database.name} cannot be read. "
            "Write sqlite:////path/to/file or postgresql://user:password@host/name."
        ) from error


def _sqlite_path(name: str, url: URL) -> Path:
    path = Path(url.database or "")
    if url.query or not path.is_absolute():
        raise UnknownDatabase(
            f"Database {name} needs an absolute path and no options: sqlite:////path/to/file."
        )
    return path
