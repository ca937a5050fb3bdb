"""PostgreSQL, in read-only transactions over the extended protocol.

Three things hold without the validator: the transaction is READ ONLY, each message carries exactly one
statement (a prepared one, so `COMMIT; DROP ...` cannot be stacked), and time is bounded by the server
(`statement_timeout`) as well as from here (cancel on a second connection). What the role may read is for the
operator to grant: give the address of a role that has SELECT on the project's tables and nothing else.
"""

from collections.abc import Sequence
from typing import Any

import psycopg
from sqlalchemy import URL, Connection, create_engine, inspect
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from tools.errors import QueryFailed, QueryStopped, UnknownDatabase
from tools.sql.catalog import Catalog, Table
from tools.sql.discovery import read_catalog
from tools.sql.limits import Limits, Stop

CONNECT_SECONDS = 5
HIDDEN_SCHEMAS = ("information_schema", "pg_catalog", "pg_toast")
ESTIMATES = (
    "SELECT n.nspname, c.relname, c.reltuples::bigint FROM pg_class AS c "
    "JOIN pg_namespace AS n ON n.oid = c.relnamespace WHERE c.relkind IN ('r', 'p', 'm') AND c.reltuples >= 0"
)


class PostgresDatabase:
    """One PostgreSQL database, read only."""

    dialect = "postgres"

    def __init__(self, name: str, url: URL) -> None:
        self._name = name
        self._engine = create_engine(
            url.set(drivername="postgresql+psycopg"),
            poolclass=NullPool,
            connect_args={
                "connect_timeout": CONNECT_SECONDS,
                "prepare_threshold": 0,
                "application_name": "loopyard-tools",
                "options": "-c default_transaction_read_only=on -c lock_timeout=3000 "
                "-c standard_conforming_strings=on",
            },
            execution_options={"postgresql_readonly": True, "no_parameters": True},
        )

    def discover(self) -> Catalog:
        """Tables and views of every schema that is not the server's own."""
        try:
            inspector = inspect(self._engine)
            default = inspector.default_schema_name or "public"
            others = [
                schema
                for schema in inspector.get_schema_names()
                if schema != default and schema not in HIDDEN_SCHEMAS and not schema.startswith("pg_")
            ]
            return self._with_estimates(read_catalog(self._name, inspector, default, None, others))
        except (SQLAlchemyError, psycopg.Error) as error:
            raise UnknownDatabase(
                f"Database {self._name} does not answer: {_text(error)}. Check its address."
            ) from error

    def fingerprint(self) -> str | None:
        """Not known cheaply: the schema is read again when its time is over."""
        return None

    def run(self, sql: str, limits: Limits, stop: Stop) -> tuple[list[str], list[Sequence[Any]]]:
        """Run one statement in a read-only transaction that is rolled back."""
        try:
            with self._engine.connect() as connection:
                return self._fetch(connection, sql, limits, stop)
        except (DBAPIError, psycopg.Error) as error:
            raise _translated(error, limits) from error

    def close(self) -> None:
        """Nothing is kept open between queries."""
        self._engine.dispose()

    def _fetch(
        self, connection: Connection, sql: str, limits: Limits, stop: Stop
    ) -> tuple[list[str], list[Sequence[Any]]]:
        milliseconds = int(limits.seconds * 1000)
        connection.exec_driver_sql(f"SET LOCAL statement_timeout = {milliseconds}")
        driver = connection.connection.driver_connection
        assert isinstance(driver, psycopg.Connection)
        stop.on_request(driver.cancel)
        try:
            # A cursor on the server's side: what the caps cut off is never sent.
            streaming = connection.execution_options(stream_results=True, max_row_buffer=200)
            result = streaming.exec_driver_sql(sql)
            rows: list[Sequence[Any]] = [tuple(row) for row in result.fetchmany(limits.rows + 1)]
            names = list(result.keys())
            result.close()
            return names, rows
        finally:
            stop.on_request(None)
            connection.rollback()

    def _with_estimates(self, catalog: Catalog) -> Catalog:
        with self._engine.connect() as connection:
            found = connection.exec_driver_sql(ESTIMATES).all()
        rows = {(schema, name): count for schema, name, count in found}

        def estimated(table: Table) -> Table:
            schema, dot, name = table.name.partition(".")
            key = (schema, name) if dot else (catalog.default_schema, table.name)
            return table.model_copy(update={"rows": rows.get(key)})

        return catalog.model_copy(update={"tables": tuple(map(estimated, catalog.tables))})


def _translated(error: Exception, limits: Limits) -> QueryFailed | QueryStopped:
    original = getattr(error, "orig", error)
    if isinstance(original, psycopg.errors.QueryCanceled):
        return QueryStopped(f"The query was stopped after {limits.seconds:g} s. Narrow it with WHERE.")
    return QueryFailed(f"{_text(error)}. Change the statement and try again.")


def _text(error: Exception) -> str:
    """The server's own first line, which holds no address and no password."""
    original = getattr(error, "orig", None) or error
    if isinstance(original, psycopg.Error) and original.diag.message_primary:
        hint = original.diag.message_hint
        return f"{original.diag.message_primary}{f' ({hint})' if hint else ''}".rstrip(".")
    return (
        "the connection failed"
        if isinstance(original, psycopg.OperationalError)
        else str(original).splitlines()[0]
    )
