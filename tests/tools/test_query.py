"""One question to a database: choosing it, its schema, the caps, and stopping."""

import asyncio
import sqlite3
from pathlib import Path

import pytest

from tools.context import Caller, Database
from tools.errors import QueryRefused, UnknownDatabase
from tools.settings import Settings
from tools.sql.query import Queries


def caller(*databases: tuple[str, str]) -> Caller:
    named = tuple(Database(name=name, url=url) for name, url in databases)
    return Caller(project="p", scopes=frozenset({"tools:call"}), databases=named)


@pytest.fixture
def queries() -> Queries:
    return Queries(Settings(sql_rows=3, sql_seconds=60, sql_cell_chars=20))


async def test_rows_beyond_the_cap_are_cut_visibly(queries: Queries, shop: Path) -> None:
    result = await queries.query(caller(("shop", f"sqlite:///{shop}")), "SELECT TrackId FROM Track", None)
    assert result.rows == [[1], [2], [3]]
    assert result.truncated
    assert result.text() == "TrackId\n1\n2\n3\n(3+ rows)"


async def test_exactly_as_many_rows_as_the_cap_are_whole(queries: Queries, shop: Path) -> None:
    result = await queries.query(caller(("shop", f"sqlite:///{shop}")), "SELECT Name FROM Artist", None)
    assert (result.row_count, result.truncated) == (3, False)


async def test_long_cells_are_cut_visibly(queries: Queries, shop: Path) -> None:
    result = await queries.query(
        caller(("shop", f"sqlite:///{shop}")), "SELECT 'abcdefghijklmnopqrstuvwxyz' AS a", None
    )
    assert result.rows == [["abcdefghijklmnopqrst… (26 characters)"]]


async def test_the_first_database_is_meant_where_none_is_named(
    queries: Queries, shop: Path, postgres_shop: str
) -> None:
    both = caller(("shop", f"sqlite:///{shop}"), ("pg", postgres_shop))
    assert (await queries.query(both, "SELECT 1 AS a", None)).database == "shop"
    result = await queries.query(
        both, "SELECT SUM(total) AS sum, MAX(invoice_date) AS last FROM invoice", "PG"
    )
    assert result.rows == [[64.74, "2025-03-20 12:00:00"]]
    assert [catalog.name for catalog in await queries.describe(both, None)] == ["shop", "pg"]
    assert [catalog.name for catalog in await queries.describe(both, "ledger")] == ["pg"]
    with pytest.raises(UnknownDatabase, match=r"no such table: ledgers\. Did you mean Ledger\?"):
        await queries.describe(both, "ledgers")


async def test_a_new_table_is_seen_at_once(queries: Queries, tmp_path: Path, postgres_shop: str) -> None:
    path = tmp_path / "a.db"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE a (b)")
    one = caller(("a", f"sqlite:///{path}"))
    await queries.query(one, "SELECT b FROM a", None)
    connection.execute("CREATE TABLE fresh (c)")
    connection.commit()
    connection.close()
    assert (await queries.query(one, "SELECT c FROM fresh", None)).columns == ["c"]


async def test_a_caller_that_goes_away_stops_the_query(queries: Queries, shop: Path) -> None:
    bomb = ", ".join(f"Track AS t{i}" for i in range(12))
    running = asyncio.create_task(
        queries.query(caller(("shop", f"sqlite:///{shop}")), f"SELECT COUNT(*) FROM {bomb}", None)
    )
    await asyncio.sleep(0.3)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(running, 20)


async def test_without_a_database_the_caller_is_told(queries: Queries) -> None:
    with pytest.raises(UnknownDatabase, match="This project has no database"):
        await queries.query(caller(), "SELECT 1", None)
    with pytest.raises(UnknownDatabase, match="This project has no database"):
        await queries.describe(caller(), None)


async def test_a_database_may_be_empty(queries: Queries, tmp_path: Path) -> None:
    path = tmp_path / "empty.db"
    path.touch()
    one = caller(("empty", f"sqlite:///{path}"))
    assert (await queries.describe(one, None))[0].text() == "Database empty (sqlite): no tables"
    with pytest.raises(QueryRefused, match="Tables of empty: none"):
        await queries.query(one, "SELECT * FROM a", None)
