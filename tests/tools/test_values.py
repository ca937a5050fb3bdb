"""Which cells of a database a text names."""

import sqlite3
from pathlib import Path

import pytest

from tests.tools.test_query import caller
from tools.settings import Settings
from tools.sql import values
from tools.sql.query import Queries


@pytest.fixture
def queries() -> Queries:
    return Queries(Settings())


@pytest.fixture
def places(tmp_path: Path) -> str:
    """The address of a database with names that are hard to write."""
    path = tmp_path / "places.db"
    connection = sqlite3.connect(path)
    connection.executescript(
        """CREATE TABLE "odd ""name"(id INTEGER PRIMARY KEY, "the city" TEXT, note BLOB);
        INSERT INTO "odd ""name" VALUES (1, 'O''Fallon', 'x'), (2, 'New York', 'y'), (3, 'AC/DC', 'z'),
            (4, 'Wham!', 'v'), (5, 'Österreich', 'u'), (6, x'6f', 't');
        CREATE TABLE people(name VARCHAR(20), country TEXT, age INTEGER);
        INSERT INTO people VALUES ('Brazil', 'Brazil', 30), ('Ann', 'Chad', 31);"""
    )
    connection.close()
    return f"sqlite:///{path}"


async def named(queries: Queries, url: str, text: str) -> dict[str, list[str]]:
    found = await queries.values(caller(("one", url)), text)
    return {f"{one.table}.{one.column}": one.cells for one in found}


async def test_a_cell_is_found_whole_and_without_case_in_every_column(queries: Queries, places: str) -> None:
    assert await named(queries, places, "How many people live in brazil?") == {
        "people.name": ["Brazil"],
        "people.country": ["Brazil"],
    }
    assert await named(queries, places, "flights to NEW  YORK") == {}, "not as it is written"
    assert await named(queries, places, "flights to NEW YORK, and back") == {
        'odd "name.the city': ["New York"]
    }
    assert await named(queries, places, "songs of AC/DC") == {'odd "name.the city': ["AC/DC"]}
    assert await named(queries, places, "by wham! or OK") == {'odd "name.the city': ["Wham!"]}
    assert await named(queries, places, "in Österreich\ud800") == {'odd "name.the city': ["Österreich"]}
    assert await named(queries, places, "of the Brazilian people, 30") == {}


async def test_what_is_asked_is_never_read_as_sql(queries: Queries, places: str) -> None:
    attack = "O'Fallon'); DROP TABLE people; -- '' \" \\ O'Fallon"
    assert await named(queries, places, attack) == {'odd "name.the city': ["O'Fallon"]}
    assert "people.country" in await named(queries, places, "chad")


async def test_postgres_finds_the_same(queries: Queries, shop: Path, postgres_shop: str) -> None:
    text = "Which rock albums do The Paper Boats have, and who lives in Thailand or PORTUGAL?"
    ours = await named(queries, f"sqlite:///{shop}", text)
    theirs = await named(queries, postgres_shop, text)
    assert ours["Artist.Name"] == ["The Paper Boats"]
    assert sorted(ours["Customer.Country"]) == ["Portugal", "Thailand"]
    assert {key.lower(): sorted(cells) for key, cells in ours.items()} == {
        key.replace("_", "").lower(): sorted(cells) for key, cells in theirs.items()
    }


async def test_no_more_than_the_time_that_a_question_can_wait(
    queries: Queries, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "slow.db"
    connection = sqlite3.connect(path)
    connection.executescript(
        "CREATE TABLE fast(name TEXT); INSERT INTO fast VALUES ('Lyon');"
        "CREATE VIEW slow AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) "
        "SELECT CAST(i AS TEXT) AS name FROM n;"
    )
    connection.close()
    monkeypatch.setattr(values, "COLUMN_SECONDS", 0.05)
    found = await named(queries, f"sqlite:///{path}", "offices in Lyon")
    assert found == {"fast.name": ["Lyon"]}, "the endless column is given up"


async def test_a_text_without_words(queries: Queries, places: str) -> None:
    assert await named(queries, places, "?!") == {}
    assert await queries.values(caller(), "anything") == []
