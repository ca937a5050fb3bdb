"""One question to a database: choose it, know its schema, validate, run, cap."""

import logging
import time

from tools.context import Caller, Database
from tools.errors import QueryRefused, UnknownDatabase
from tools.settings import Settings
from tools.sql.catalog import Catalog, nearest
from tools.sql.databases import Databases
from tools.sql.limits import Engine, Limits, Stop
from tools.sql.table import QueryResult, capped
from tools.sql.validate import validate
from tools.sql.values import ALL_SECONDS, NamedCells, named_cells
from tools.threads import in_thread

logger = logging.getLogger(__name__)


class Queries:
    """Reads the databases of a project on behalf of a caller."""

    def __init__(self, settings: Settings) -> None:
        self._databases = Databases()
        self._limits = Limits(
            rows=settings.sql_rows,
            bytes=settings.sql_bytes,
            cell_chars=settings.sql_cell_chars,
            seconds=settings.sql_seconds,
        )

    async def describe(self, caller: Caller, table: str | None) -> list[Catalog]:
        """The schemas of all databases of the project, or of the one table that was named."""
        if not caller.databases:
            self._databases.choose(caller, None)
        catalogs = [await in_thread(self._catalog, database) for database in caller.databases]
        return catalogs if table is None else _only(catalogs, table)

    async def query(self, caller: Caller, sql: str, name: str | None) -> QueryResult:
        """Run one SELECT; raises a `DatabaseError` that says what to change."""
        database = self._databases.choose(caller, name)
        stop = Stop()
        result = await in_thread(self._query, database, sql, stop, stop=stop.request)
        logger.info(
            "query ran",
            extra={"project": caller.project, "database": name, "rows": result.row_count, "ms": result.ms},
        )
        return result

    async def values(self, caller: Caller, text: str) -> list[NamedCells]:
        """Cells of the project's databases that `text` names."""
        stop, until = Stop(), time.monotonic() + ALL_SECONDS
        found = []
        for database in caller.databases:
            found += await in_thread(self._values, database, text, stop, until, stop=stop.request)
        return found

    async def test(self, caller: Caller, name: str) -> Catalog:
        """Connect and read the schema, whatever is remembered."""
        database = self._databases.choose(caller, name)
        return await in_thread(self._catalog, database, True)

    def _catalog(self, database: Database, fresh: bool = False) -> Catalog:
        engine = self._databases.open(database)
        try:
            return self._databases.catalog(database, engine, fresh)
        finally:
            engine.close()

    def _values(self, database: Database, text: str, stop: Stop, until: float) -> list[NamedCells]:
        engine = self._databases.open(database)
        try:
            return named_cells(engine, self._databases.catalog(database, engine), text, stop, until)
        finally:
            engine.close()

    def _query(self, database: Database, sql: str, stop: Stop) -> QueryResult:
        engine = self._databases.open(database)
        try:
            statement = self._validated(database, engine, sql)
            started = time.perf_counter()
            columns, rows = engine.run(statement, self._limits, stop)
            elapsed = (time.perf_counter() - started) * 1000
        finally:
            engine.close()
        kept, cut = capped(rows, self._limits)
        return QueryResult(
            database=database.name,
            sql=statement,
            columns=columns,
            rows=kept,
            row_count=len(kept),
            truncated=cut,
            ms=round(elapsed, 2),
        )

    def _validated(self, database: Database, engine: Engine, sql: str) -> str:
        """Validate against what is known; a refusal is only believed against a fresh schema."""
        try:
            return validate(sql, self._databases.catalog(database, engine), self._limits.rows)
        except QueryRefused:
            if engine.fingerprint() is not None:
                raise
            return validate(sql, self._databases.catalog(database, engine, fresh=True), self._limits.rows)


def _only(catalogs: list[Catalog], table: str) -> list[Catalog]:
    found = [
        catalog.model_copy(update={"tables": (match,)})
        for catalog in catalogs
        if (match := catalog.find(table)) is not None
    ]
    if found:
        return found
    names = [name for catalog in catalogs for name in catalog.table_names()]
    near = nearest(table, names)
    hint = f" Did you mean {near[0]}?" if near else ""
    raise UnknownDatabase(f"no such table: {table}.{hint} Tables: {', '.join(names[:60]) or 'none'}")
