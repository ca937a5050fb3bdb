"""The SQLite engine by itself: nothing but reading, whatever text arrives."""

import hashlib
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from tools.errors import QueryFailed, QueryStopped, ToolsError, UnknownDatabase
from tools.sql.limits import Limits, Stop
from tools.sql.sqlite import SqliteDatabase

LIMITS = Limits(rows=1000, bytes=1_000_000, cell_chars=1000, seconds=0.5)

# What the engine may run although the validator refuses it, because nothing comes of it.
HARMLESS = {"EXPLAIN SELECT * FROM customer", ";", "-- leading comment and nothing else"}


@pytest.fixture
def database(shop: Path) -> SqliteDatabase:
    return SqliteDatabase("shop", shop)


def test_no_unsafe_statement_does_anything_without_the_validator(
    corpus: Callable[[str], list[str]], database: SqliteDatabase, shop: Path
) -> None:
    before = hashlib.sha256(shop.read_bytes()).hexdigest()
    ran = []
    for statement in corpus("unsafe-both.sql") + corpus("unsafe-sqlite.sql"):
        try:
            database.run(statement, LIMITS, Stop())
        except ToolsError:
            continue
        ran.append(statement)
    assert set(ran) - HARMLESS == set()
    assert hashlib.sha256(shop.read_bytes()).hexdigest() == before
    assert {path.name for path in shop.parent.iterdir()} == {shop.name}


def test_a_bomb_is_stopped_in_time(database: SqliteDatabase) -> None:
    bomb = " , ".join(f"Track AS t{i}" for i in range(12))
    with pytest.raises(QueryStopped, match=r"was stopped after 0\.5 s"):
        database.run(f"SELECT COUNT(*) FROM {bomb}", LIMITS, Stop())


def test_a_request_to_stop_ends_a_query(database: SqliteDatabase) -> None:
    stop = Stop()
    stop.request()
    bomb = " , ".join(f"Track AS t{i}" for i in range(12))
    with pytest.raises(QueryStopped):
        database.run(f"SELECT COUNT(*) FROM {bomb}", LIMITS, stop)


def test_long_strings_are_bounded(database: SqliteDatabase) -> None:
    doubled = "'xxxxxxxxxxxxxxxx'"
    for _ in range(6):
        doubled = f"replace({doubled}, 'x', 'xxxxxxxxxxxxxxxx')"
    with pytest.raises(QueryFailed, match="too big"):
        database.run(f"SELECT {doubled}", LIMITS, Stop())


def test_schema_has_tables_views_keys_and_rows(database: SqliteDatabase) -> None:
    catalog = database.discover()
    assert catalog.table_names() == ["Album", "Artist", "Customer", "Invoice", "Spending", "Track"]
    album = catalog.find("album")
    assert album is not None
    assert album.line() == "Album(AlbumId, Title, ArtistId > Artist.ArtistId)"
    assert album.rows == 4
    assert album.columns[0].primary_key


def test_the_fingerprint_changes_with_the_schema(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE a (b)")
    database = SqliteDatabase("a", path)
    before = database.fingerprint()
    connection.execute("ALTER TABLE a ADD COLUMN c")
    connection.commit()
    connection.close()
    assert before is not None
    assert database.fingerprint() != before


def test_a_missing_file_and_a_file_of_another_kind_are_named(tmp_path: Path) -> None:
    with pytest.raises(UnknownDatabase, match=r"not there: nothing\.db"):
        SqliteDatabase("x", tmp_path / "nothing.db")
    other = tmp_path / "notes.txt"
    other.write_text("not a database at all")
    with pytest.raises(UnknownDatabase, match="not an SQLite database"):
        SqliteDatabase("x", other)


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "torn.db"
    path.write_bytes(b"SQLite format 3\x00" + b"\xff" * 4000)
    with pytest.raises(UnknownDatabase, match="cannot be read"):
        SqliteDatabase("torn", path).discover()
