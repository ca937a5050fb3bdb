"""The PostgreSQL engine by itself, on a real server."""

import asyncio
from collections.abc import Callable

import psycopg
import pytest
from sqlalchemy import make_url

from tools.errors import QueryFailed, QueryStopped, UnknownDatabase
from tools.sql.limits import Limits, Stop
from tools.sql.postgres import PostgresDatabase

LIMITS = Limits(rows=1000, bytes=1_000_000, cell_chars=1000, seconds=0.5)


@pytest.fixture
def database(postgres_shop: str) -> PostgresDatabase:
    return PostgresDatabase("shop", make_url(postgres_shop))


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT 1; SELECT 2",
        "COMMIT; DROP TABLE customer",
        "SELECT 1; COMMIT; DELETE FROM customer",
        "DELETE FROM customer",
        "WITH gone AS (DELETE FROM customer RETURNING *) SELECT * FROM gone",
        "SELECT nextval('ticket')",
        "SELECT setval('ticket', 99)",
        "SELECT lo_create(1)",
        "SELECT * INTO stolen FROM customer",
        "CREATE TABLE stolen (a int)",
        "SET statement_timeout = 0",
        "SELECT first_name FROM customer FOR UPDATE",
    ],
)
def test_nothing_can_be_written_without_the_validator(database: PostgresDatabase, statement: str) -> None:
    with pytest.raises(QueryFailed):
        database.run(statement, LIMITS, Stop())
    assert database.run("SELECT COUNT(*) FROM customer", LIMITS, Stop())[1] == [(4,)]


def test_every_unsafe_statement_leaves_the_data_alone(
    corpus: Callable[[str], list[str]], database: PostgresDatabase, postgres_shop: str
) -> None:
    def fingerprint() -> object:
        with psycopg.connect(postgres_shop) as connection:
            tables = connection.execute(
                "SELECT count(*) FROM pg_class WHERE relnamespace::regnamespace::text IN ('public', 'sales')"
            ).fetchone()
            rows = connection.execute(
                "SELECT md5(string_agg(c::text, ',' ORDER BY c::text)) FROM customer AS c"
            ).fetchone()
        return tables, rows

    before = fingerprint()
    for statement in filter(changes, corpus("unsafe-both.sql") + corpus("unsafe-postgres.sql")):
        try:
            database.run(statement, LIMITS, Stop())
        except (QueryFailed, QueryStopped):
            continue
    assert fingerprint() == before


def changes(statement: str) -> bool:
    """Statements that try to change data; the others read, and only the validator keeps them away."""
    return not statement.startswith(("SELECT", "SHOW", "EXPLAIN")) or " INTO " in statement


def test_time_is_bounded_by_the_server(database: PostgresDatabase) -> None:
    with pytest.raises(QueryStopped, match=r"was stopped after 0\.5 s"):
        database.run("SELECT pg_sleep(30)", LIMITS, Stop())


async def test_a_request_to_stop_ends_a_query(database: PostgresDatabase) -> None:
    stop = Stop()
    limits = Limits(rows=10, bytes=1000, cell_chars=100, seconds=60)
    running = asyncio.create_task(asyncio.to_thread(database.run, "SELECT pg_sleep(50)", limits, stop))
    await asyncio.sleep(0.5)
    await asyncio.to_thread(stop.request)
    with pytest.raises(QueryStopped):
        await asyncio.wait_for(running, 20)


def test_only_the_rows_that_were_asked_for_come_over(database: PostgresDatabase) -> None:
    limits = Limits(rows=5, bytes=1000, cell_chars=100, seconds=5)
    columns, rows = database.run("SELECT generate_series(1, 100000000) AS n", limits, Stop())
    assert columns == ["n"]
    assert len(rows) == 6


def test_percent_signs_are_not_parameters(database: PostgresDatabase) -> None:
    _, rows = database.run("SELECT '100%', 7 % 4, '%s %(a)s'", LIMITS, Stop())
    assert rows == [("100%", 3, "%s %(a)s")]


def test_schema_has_other_schemas_mixed_case_and_keys(database: PostgresDatabase) -> None:
    catalog = database.discover()
    assert {"Ledger", "customer", "sales.region", "spending"} <= set(catalog.table_names())
    invoice = catalog.find("invoice")
    assert invoice is not None
    assert "customer_id > customer.customer_id" in invoice.line()


def test_a_server_that_is_not_there_is_named_without_its_password() -> None:
    database = PostgresDatabase("gone", make_url("postgresql://user:topsecret@127.0.0.1:1/x"))
    with pytest.raises(UnknownDatabase) as refusal:
        database.discover()
    assert "gone does not answer" in str(refusal.value)
    assert "topsecret" not in str(refusal.value)
