"""Good statements pass, statements that cannot run do not."""

import json
import random
import sqlite3
from contextlib import closing
from typing import Any

import llama_cpp.llama_cpp as llama
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llm_server.constraints.fitting import narrowed
from llm_server.constraints.sql import Stage, stage_of
from llm_server.constraints.sql_schema import SqlSchema
from llm_server.constraints.tools import CallGrammar, Words
from tests.llm_server.walking import Walker

TABLES = {
    "Artist": ["ArtistId", "Name"],
    "Album": ["AlbumId", "Title", "ArtistId"],
    "Track": ["TrackId", "Name", "AlbumId", "Milliseconds", "UnitPrice"],
    "Order Details": ["OrderId", "Track Id", "Quantity"],
    "Invoice": ["InvoiceId", "InvoiceDate", "BillingCountry", "Total"],
}
KEYS = [
    ["Album.ArtistId", "Artist.ArtistId"],
    ["Track.AlbumId", "Album.AlbumId"],
    ["Order Details.Track Id", "Track.TrackId"],
]
X_SQL = {"tables": TABLES, "foreign_keys": KEYS}
USER = "Top five artists from brazil by number of tracks since 2010?"


def function(x_sql: object = X_SQL) -> dict[str, object]:
    sql = {"type": "string", "x-sql": x_sql}
    parameters = {
        "type": "object",
        "properties": {"sql": sql, "database": {"type": "string"}},
        "required": ["sql"],
    }
    return {"name": "sql_query", "parameters": parameters}


def follow(walker: Walker, statement: str, *, free: bool = False) -> str | None:
    """Write a call token by token as the engine does; the text before the first token that is refused,
    or None.
    """
    calls = CallGrammar([function()], Words((USER,), free))
    text = f'\n{{"name": "sql_query", "arguments": {{"sql": {json.dumps(statement)}}}}}\n'
    written, stage, gbnf = "", Stage(), calls.whole.gbnf
    grammar = walker._parse(gbnf)
    tokens = walker.vocabulary.tokenize(text)
    for i, token in enumerate(tokens):
        if token not in walker._allowed(grammar):
            return written
        llama.llama_sampler_accept(grammar, token)
        written += walker.vocabulary.piece(token).decode()
        refined = calls.refine(written, stage)
        if refined is not None:
            narrower, stage = refined
            grammar = walker._parse(narrower.gbnf)
            for said in tokens[: i + 1]:
                assert said in walker._allowed(grammar), f"the next stage refuses {written!r}"
                llama.llama_sampler_accept(grammar, said)
    return None if walker._end in walker._allowed(grammar) else written


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT COUNT(*) FROM Artist",
        "SELECT DISTINCT BillingCountry FROM Invoice",
        "SELECT COUNT(DISTINCT BillingCountry) FROM Invoice",
        "SELECT Name, Milliseconds FROM Track ORDER BY Milliseconds DESC LIMIT 5",
        "SELECT Track.Name FROM Track WHERE Track.Milliseconds >= 1000 AND Track.UnitPrice < 1.5",
        "SELECT Artist.Name, COUNT(*) AS tracks FROM Artist JOIN Album ON Album.ArtistId = Artist.ArtistId "
        "JOIN Track ON Track.AlbumId = Album.AlbumId GROUP BY Artist.ArtistId ORDER BY tracks DESC LIMIT 5",
        "SELECT Track.Name FROM Artist JOIN Album ON Artist.ArtistId = Album.ArtistId "
        "JOIN Track ON Track.AlbumId = Album.AlbumId WHERE Artist.Name = 'Brazil'",
        "SELECT COUNT(*) FROM Track JOIN Album ON Album.AlbumId = Track.AlbumId "
        "WHERE Album.Title LIKE '%brazil%'",
        "SELECT strftime('%Y', InvoiceDate) AS year, SUM(Total) AS total FROM Invoice "
        "GROUP BY year ORDER BY year",
        "SELECT BillingCountry, SUM(Total) AS revenue FROM Invoice "
        "WHERE strftime('%Y', InvoiceDate) = '2010' GROUP BY BillingCountry "
        "HAVING SUM(Total) > 100 ORDER BY revenue DESC",
        "SELECT Name FROM Track WHERE Milliseconds > (SELECT AVG(Milliseconds) FROM Track)",
        "SELECT Name FROM Artist WHERE ArtistId NOT IN (SELECT ArtistId FROM Album)",
        "SELECT COUNT(*) FROM Invoice WHERE InvoiceDate >= '2010-01-01' AND InvoiceDate < '2011-01-01'",
        "SELECT COUNT(*) FROM Invoice WHERE Total IS NOT NULL OR Total BETWEEN 1 AND 2",
        "SELECT SUM(UnitPrice * Milliseconds) AS total FROM Track",
        'SELECT SUM("Order Details".Quantity) AS total FROM "Order Details"',
        'SELECT Track.Name, SUM("Order Details".Quantity) AS sold FROM Track JOIN "Order Details" ON '
        '"Order Details"."Track Id" = Track.TrackId GROUP BY Track.TrackId ORDER BY sold DESC LIMIT 3',
        "SELECT * FROM Artist LIMIT 10",
        "SELECT EXTRACT(YEAR FROM InvoiceDate) AS year, COUNT(*) AS n FROM Invoice GROUP BY year",
    ],
)
def test_the_style_of_the_prompts_passes(walker: Walker, statement: str) -> None:
    assert follow(walker, statement) is None


@pytest.mark.parametrize(
    ("statement", "until"),
    [
        ("SELECT Nothing FROM Artist", "SELECT N"),
        ("SELECT Title FROM Track", "SELECT Title FROM "),
        ("SELECT Artist.Name FROM Album LIMIT 1", "SELECT Artist.Name FROM Album "),
        ("SELECT Name FROM Track WHERE Title = 1", "SELECT Name FROM Track WHERE T"),
        ("SELECT Track.Name FROM Track JOIN Invoice ON", "SELECT Track.Name FROM Track JOIN "),
        ("SELECT Name FROM Artist WHERE Name = 'Nobody said this'", "SELECT Name FROM Artist WHERE Name = '"),
        ("SELECT Name FROM Artist; DROP TABLE Artist", "SELECT Name FROM Artist"),
        ("DELETE FROM Artist", ""),
    ],
)
def test_what_cannot_run_is_not_written(walker: Walker, statement: str, until: str) -> None:
    stopped = follow(walker, statement)
    assert stopped is not None
    assert stopped.partition('"sql": "')[2].startswith(until.rstrip())


def test_a_database_without_foreign_keys_is_joined_by_its_names() -> None:
    tables = {
        "customers": ["id", "name"],
        "orders": ["id", "customer_id"],
        "lines": ["order_id", "sku_code"],
        "skus": ["sku_code"],
    }
    schema = SqlSchema.of({"tables": tables})
    assert schema is not None
    assert schema.reachable("customers") == set(tables)
    assert "orders.customer_id = customers.id" in schema.joins(["customers"])["orders"]


def test_free_literals_where_the_model_is_trusted(walker: Walker) -> None:
    assert follow(walker, "SELECT Name FROM Artist WHERE Name = 'Canada'", free=True) is None


def test_a_schema_that_is_too_large_or_broken_leaves_a_free_string(walker: Walker) -> None:
    large = {"tables": {f"t{n}": [f"c{n}_{m}" for m in range(20)] for n in range(10)}}
    values: list[object] = [large, {"tables": {}}, {"tables": "x"}, None, 3]
    for value in values:
        gbnf = CallGrammar([function(value)], Words((USER,))).whole.gbnf
        assert walker.accepts(gbnf, '\n{"name": "sql_query", "arguments": {"sql": "anything at all"}}\n')


def test_a_stage_is_what_has_been_said() -> None:
    schema = SqlSchema.of(X_SQL)
    assert schema is not None
    text = "SELECT Artist.Name FROM Artist JOIN Album ON Album.ArtistId = Artist.ArtistId "
    assert stage_of(schema, "SELECT Artist.Name FRO") == Stage()
    assert stage_of(schema, "SELECT Artist.Name FROM").tables == ()
    assert stage_of(schema, "SELECT Artist.Name FROM Artist").tables == ()
    assert stage_of(schema, "SELECT Artist.Name FROM Artist ").tables == ("Artist",)
    assert stage_of(schema, text).tables == ("Artist", "Album")
    assert stage_of(schema, "SELECT EXTRACT(YEAR FROM x").select_list is None


@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
@given(seed=st.integers(0, 10**6))
def test_random_statements_name_what_exists(walker: Walker, seed: int) -> None:
    """Whatever the grammar lets through names only what exists, in scope."""
    statement = random_statement(walker, seed)
    # Types, misplaced aggregates and aliases that are keywords are beyond a grammar; names are not.
    assert "no such" not in (complaint(statement) or ""), statement


def complaint(statement: str) -> str | None:
    """What SQLite says to a statement over the tables; None when it takes it."""
    with closing(sqlite3.connect(":memory:")) as database:
        for table, columns in TABLES.items():
            names = ", ".join(f'"{column}"' for column in columns)
            database.execute(f'CREATE TABLE "{table}" ({names})')
        try:
            database.execute(statement)
        except sqlite3.OperationalError as error:
            return str(error)
    return None


def random_statement(walker: Walker, seed: int) -> str:
    calls = CallGrammar([function()], Words((USER,), False))
    rng, said, stage, tokens = random.Random(seed), b"", Stage(), []
    grammar = walker._parse(calls.whole.gbnf)
    for step in range(600):
        allowed = walker.sayable(grammar, said)
        assert allowed, f"a dead end after {said!r}"
        if walker._end in allowed:
            return str(json.loads(said)["arguments"]["sql"])
        closing = [t for t in allowed if walker.vocabulary.piece(t)[:1] in b'"}]) F']
        token = rng.choice(closing) if closing and rng.random() < 0.3 + step / 200 else rng.choice(allowed)
        llama.llama_sampler_accept(grammar, token)
        tokens.append(token)
        said += walker.vocabulary.piece(token)
        refined = calls.refine(said.decode(errors="replace"), stage)
        if refined is not None:
            narrower, stage = refined
            grammar = walker._parse(narrower.gbnf)
            for before in tokens:
                assert before in walker._allowed(grammar), f"the next stage refuses {said!r}"
                llama.llama_sampler_accept(grammar, before)
    raise AssertionError(f"no end in sight: {said!r}")


def test_for_a_small_model_tables_that_the_question_names_and_their_neighbours_are_left() -> None:
    tables = {
        "Customer": ["Id", "Country"],
        "Invoice": ["Id", "CustomerId", "Total"],
        "InvoiceLine": ["Id", "InvoiceId"],
        "Playlist": ["Id", "Name"],
    }
    links = [["Invoice.CustomerId", "Customer.Id"], ["InvoiceLine.InvoiceId", "Invoice.Id"]]
    sql: dict[str, Any] = {"type": "string", "x-sql": {"tables": tables, "foreign_keys": links}}
    function: dict[str, Any] = {
        "name": "sql_query",
        "parameters": {"type": "object", "properties": {"sql": sql, "n": {}}},
    }

    def left(*users: str) -> dict[str, Any]:
        value: dict[str, Any] = narrowed(function, users)["parameters"]["properties"]["sql"]["x-sql"]
        return value

    assert left("Which customers do we have?") == {
        "tables": {name: tables[name] for name in ("Customer", "Invoice")},
        "foreign_keys": links[:1],
        "together": ["Customer"],
    }
    lines = left("lines per invoice")
    assert set(lines["tables"]) == {"Invoice", "InvoiceLine"}, "they join by themselves"
    assert lines["together"] == ["InvoiceLine"], "the other is not sure to be meant"
    assert left("invoices by customer")["together"] == ["Customer", "Invoice"]
    assert set(left("How many customers are there?")["tables"]) == {"Customer"}
    assert set(left("How many customers spent more than 5?")["tables"]) == {"Customer", "Invoice"}
    named = {**sql["x-sql"], "values": {"Customer.Country": ["Chad"]}}
    properties = function["parameters"]["properties"] | {"sql": {**sql, "x-sql": named}}
    chad = narrowed(
        {"name": "q", "parameters": {"properties": properties}}, ["Which customers live in Chad?"]
    )
    assert set(chad["parameters"]["properties"]["sql"]["x-sql"]["tables"]) == {"Customer"}
    assert left("What is the revenue?") == sql["x-sql"], "no table is named"
    assert set(left("Which playlists are there?", "and what is in them?")["tables"]) == {"Playlist"}
    assert narrowed({"name": "other"}, ["customers"]) == {"name": "other"}
