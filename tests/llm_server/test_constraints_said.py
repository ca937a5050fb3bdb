"""Conditions of a small model compare with what was said, in a column that can hold it."""

import json
from typing import Any

import llama_cpp.llama_cpp as llama
import pytest

from llm_server.constraints.fitting import narrowed
from llm_server.constraints.said import Said
from llm_server.constraints.sql import Stage
from llm_server.constraints.sql_schema import MAX_VALUES, SqlSchema
from llm_server.constraints.tools import CallGrammar, Words
from tests.llm_server.walking import Walker

TABLES = {
    "Customer": ["CustomerId", "FirstName", "City", "Country"],
    "Invoice": ["InvoiceId", "CustomerId", "InvoiceDate", "Total", "Quantity"],
}
KINDS = {
    "Customer.CustomerId": "key",
    "Customer.FirstName": "text",
    "Customer.City": "text",
    "Customer.Country": "text",
    "Invoice.InvoiceId": "key",
    "Invoice.CustomerId": "key",
    "Invoice.InvoiceDate": "date",
    "Invoice.Total": "number",
    "Invoice.Quantity": "number",
}
IDENTIFIERS = [*TABLES, *(column for columns in TABLES.values() for column in columns)]


def sql_query(values: Any) -> dict[str, Any]:
    keys = [["Invoice.CustomerId", "Customer.CustomerId"]]
    x_sql = {"tables": TABLES, "foreign_keys": keys, "kinds": KINDS, "values": values}
    parameters = {"type": "object", "properties": {"sql": {"type": "string", "x-sql": x_sql}}}
    return {"name": "sql_query", "parameters": parameters | {"required": ["sql"]}}


def allowed(walker: Walker, question: str, statement: str, values: Any = None, *, free: bool = False) -> bool:
    """Whether a call with the statement can be written, token by token, as the engine does."""
    offered = sql_query(values or {})
    calls = CallGrammar([offered if free else narrowed(offered, [question])], Words((question,), free))
    text = f'\n{{"name": "sql_query", "arguments": {{"sql": {json.dumps(statement)}}}}}\n'
    written, stage, grammar = "", Stage(), walker._parse(calls.whole.gbnf)
    tokens = walker.vocabulary.tokenize(text)
    for at, token in enumerate(tokens, 1):
        if token not in walker._allowed(grammar):
            return False
        llama.llama_sampler_accept(grammar, token)
        written += walker.vocabulary.piece(token).decode()
        if refined := calls.refine(written, stage):
            grammar, stage = walker._parse(refined[0].gbnf), refined[1]
            for said in tokens[:at]:
                assert said in walker._allowed(grammar), f"the next stage refuses {written!r}"
                llama.llama_sampler_accept(grammar, said)
    return walker._end in walker._allowed(grammar)


COUNT = "SELECT COUNT(*) FROM Customer"
BRAZIL = {"Customer.Country": ["Brazil"]}


@pytest.mark.parametrize(
    ("question", "statement", "values"),
    [
        ("How many customers do we have?", COUNT, {}),
        ("How many customers live in brazil?", f"{COUNT} WHERE Country = 'Brazil'", BRAZIL),
        ("How many customers live in Atlantis?", f"{COUNT} WHERE Country = 'Atlantis'", {}),
        ("customers in atlantis", f"{COUNT} WHERE Country = 'atlantis'", {}),
        ("customers in Brazil called Ana Lima", f"{COUNT} WHERE FirstName = 'Ana Lima'", BRAZIL),
        ("customers not in Brazil", f"{COUNT} WHERE Country <> 'Brazil'", BRAZIL),
        (
            "customers of Brazil or Chad",
            f"{COUNT} WHERE Country IN ('Brazil', 'Chad')",
            {"Customer.Country": ["Brazil", "Chad"]},
        ),
        ("customers without a city", f"{COUNT} WHERE City IS NULL", {}),
        ("customers whose city contains burg", f"{COUNT} WHERE City LIKE '%burg%'", {}),
        ("invoices over 1,200.50 in total", "SELECT COUNT(*) FROM Invoice WHERE Total > 1200.50", {}),
        ("invoices from 5 to 9", "SELECT COUNT(*) FROM Invoice WHERE Quantity BETWEEN 5 AND 9", {}),
        ("cities in alphabetical order", "SELECT City FROM Customer ORDER BY City", {}),
        (
            "customers neither in Brazil nor Chad",
            f"{COUNT} WHERE Country NOT IN ('Brazil', 'Chad')",
            {"Customer.Country": ["Brazil", "Chad"]},
        ),
        ("who hasn't a city", f"{COUNT} WHERE City IS NULL", {}),
        ("names that start with A", f"{COUNT} WHERE FirstName LIKE 'A%'", {}),
        ("albums on the list by Madonna", f"{COUNT} WHERE FirstName = 'Madonna'", {"Customer.City": ["ON"]}),
        ("since 2010", "SELECT COUNT(*) FROM Invoice WHERE strftime('%Y', InvoiceDate) >= '2010'", {}),
        (
            "between 2009 and 2010",
            "SELECT COUNT(*) FROM Invoice WHERE strftime('%Y', InvoiceDate) BETWEEN '2009' AND '2010'",
            {},
        ),
        ("in 2010", "SELECT COUNT(*) FROM Invoice WHERE EXTRACT(YEAR FROM InvoiceDate) = 2010", {}),
        ("revenue by day", "SELECT InvoiceDate, SUM(Total) AS t FROM Invoice GROUP BY InvoiceDate", {}),
        ("how many units were sold", "SELECT SUM(Quantity) FROM Invoice", {}),
        ("March 2010", "SELECT COUNT(*) FROM Invoice WHERE strftime('%Y-%m', InvoiceDate) = '2010-03'", {}),
        ("on 2010-05-01", "SELECT COUNT(*) FROM Invoice WHERE date(InvoiceDate) = '2010-05-01'", {}),
        (
            "customers with more than one invoice",
            "SELECT Customer.FirstName FROM Customer JOIN Invoice "
            "ON Invoice.CustomerId = Customer.CustomerId GROUP BY Customer.CustomerId HAVING COUNT(*) > 1",
            {},
        ),
        ("the top twenty", "SELECT Total FROM Invoice ORDER BY Total DESC LIMIT 20", {}),
        ("customer 12", "SELECT FirstName FROM Customer WHERE CustomerId = 12", {}),
        (
            "revenue of 2023",
            "SELECT SUM(Total) FROM Invoice WHERE strftime('%Y', InvoiceDate) = '2023'",
            {},
        ),
        ("since 2024-05-01", "SELECT COUNT(*) FROM Invoice WHERE InvoiceDate >= '2024-05-01'", {}),
        (
            "the top five customers",
            "SELECT Customer.FirstName, SUM(Invoice.Total * Invoice.Quantity) AS total FROM Customer "
            "JOIN Invoice ON Invoice.CustomerId = Customer.CustomerId GROUP BY Customer.CustomerId "
            "ORDER BY total DESC LIMIT 5",
            {},
        ),
        (
            "invoices above average",
            "SELECT COUNT(*) FROM Invoice WHERE Total > (SELECT AVG(Total) FROM Invoice)",
            {},
        ),
        (
            "customers with more than 3 invoices",
            "SELECT Customer.FirstName FROM Customer JOIN Invoice "
            "ON Invoice.CustomerId = Customer.CustomerId GROUP BY Customer.CustomerId HAVING COUNT(*) > 3",
            {},
        ),
    ],
)
def test_what_was_said_can_be_asked(walker: Walker, question: str, statement: str, values: Any) -> None:
    assert allowed(walker, question, statement, values)


@pytest.mark.parametrize(
    ("question", "statement", "values"),
    [
        ("How many customers do we have?", f"{COUNT} WHERE City = 'customers'", {}),
        ("How many customers live in brazil?", f"{COUNT} WHERE City = 'Brazil'", BRAZIL),
        ("How many customers live in brazil?", f"{COUNT} WHERE Country = 'brazil'", BRAZIL),
        ("How many customers live in brazil?", f"{COUNT} WHERE City IS NULL", BRAZIL),
        ("How many customers live in brazil?", f"{COUNT} WHERE Country <> 'Brazil'", BRAZIL),
        ("since 2010", f"{COUNT} WHERE City = '2010'", {"Customer.City": ["2010"]}),
        ("invoices of 2023", "SELECT COUNT(*) FROM Invoice WHERE Total > 2022", {}),
        ("invoices", "SELECT COUNT(*) FROM Invoice WHERE Total > Quantity", {}),
        ("invoices", "SELECT COUNT(*) FROM Invoice LIMIT 7", {}),
        ("in 2023", "SELECT SUM(Total) FROM Invoice WHERE strftime('%Y', CustomerId) = '2023'", {}),
        ("revenue", "SELECT SUM(City) FROM Customer", {}),
        ("revenue", "SELECT SUM(CustomerId) FROM Invoice", {}),
        ("revenue", "SELECT Total * -28 FROM Invoice", {}),
        ("the top five customers", "SELECT FirstName FROM Customer ORDER BY City DESC LIMIT 5", {}),
        ("invoices per customer", "SELECT CustomerId, COUNT(*) FROM Invoice GROUP BY CustomerId", {}),
        ("invoices per customer", COUNT, {}),
        ("invoices by country", "SELECT Customer.City, COUNT(*) FROM Customer", {}),
        ("top five customers", "SELECT FirstName FROM Customer", {}),
        ("top five customers", "SELECT CustomerId FROM Customer WHERE CustomerId = 5", {}),
        ("customers", "SELECT * FROM Customer", {}),
        ("revenue of invoices", "SELECT COUNT(*) FROM Invoice", {}),
        ("how many customers do we have", f"{COUNT} GROUP BY City", {}),
        ("how many invoices", "SELECT SUM(Total) FROM Invoice", {}),
        ("the five customers", f"{COUNT} WHERE City = 'five'", {}),
        ("revenue", "SELECT COUNT(*) * 100 FROM Invoice", {}),
        ("how many invoices each", "SELECT Total, COUNT(*) FROM Invoice GROUP BY Total", {}),
        ("groups", "SELECT City FROM Customer GROUP BY City HAVING COUNT(*) > 4", {}),
    ],
)
def test_what_was_not_said_cannot(walker: Walker, question: str, statement: str, values: Any) -> None:
    assert not allowed(walker, question, statement, values)
    assert allowed(walker, question, statement, values, free=True) or "'" in statement, "the others may"


def test_a_wide_schema_has_its_names_once() -> None:
    """A question of many words over 150 columns: the grammar grows with their sum, not their product."""
    tables = {"t": [f"c{i}" for i in range(150)]}
    x_sql = {"tables": tables, "values": {"t.c1": ["x y"]}}
    schema = {"type": "object", "properties": {"sql": {"type": "string", "x-sql": x_sql}}}
    question = " ".join(f"Word{i}" for i in range(100))
    calls = CallGrammar([{"name": "sql_query", "parameters": schema}], Words((question,), False))
    assert len(calls.whole.gbnf) < 150_000
    refined = calls.refine('\n{"name": "sql_query", "arguments": {"sql": "SELECT c1 FROM t ', Stage())
    assert refined is not None
    assert len(refined[0].gbnf) < 150_000


@pytest.mark.parametrize(
    ("question", "names"),
    [
        ("How many customers do we have?", []),
        ("List all customers and their cities, please.", []),
        ("Which customers live in New York?", ["New", "New York", "York"]),
        ('the customer named "the who"', ["the who"]),
        ("Zürich's customers", ["Zürich's"]),
    ],
)
def test_names_are_what_is_no_word_of_the_schema_or_of_every_question(
    question: str, names: list[str]
) -> None:
    assert Said.of([question], IDENTIFIERS).names(()) == names


def test_beside_a_known_name_only_capitals_are_names() -> None:
    said = Said.of(["Do people from brazil like Rio more?"], IDENTIFIERS)
    assert said.names(["Brazil"]) == ["Rio"]
    assert "people" in said.names(())


@pytest.mark.parametrize(
    ("question", "numbers"),
    [
        ("3, 1,200 and 4.5", ("3", "1200", "4.5")),
        ("the top five of 2019?", ("2019", "5")),
        ("If it is 7, what is -2.", ("7", "-2")),
        ("v2 on 2024-05-01 at B12", ()),
        ("one of them", ()),
    ],
)
def test_numbers_as_sql_writes_them(question: str, numbers: tuple[str, ...]) -> None:
    assert Said.of([question], ()).numbers == numbers


@pytest.mark.parametrize(
    "values",
    [
        "text",
        7,
        ["x"],
        {"Customer.City": "Rome"},
        {"No.Where": ["x"]},
        {"Customer.City": [7, None, "\ud800", "x" * 1000]},
    ],
)
def test_values_that_make_no_sense_are_none(values: Any) -> None:
    found = SqlSchema.of({"tables": TABLES, "values": values})
    assert found is not None
    assert found.values == {}


@pytest.mark.parametrize("keys", [5, "ab", [["a"]], [5], [["a.b", "c.d"]], [[None, None]]])
def test_keys_that_make_no_sense_are_none(keys: Any) -> None:
    found = SqlSchema.of({"tables": TABLES, "foreign_keys": keys})
    assert found is not None
    guessed = SqlSchema.of({"tables": TABLES})
    assert guessed is not None
    assert found.links == guessed.links
    assert SqlSchema.of({"tables": {"T": 5}}) is None


def test_a_long_question_costs_little() -> None:
    """Grammars are written in the engine's thread, where everybody waits."""
    tables = {f"t{i}": [f"c{i}_{j}" for j in range(8)] for i in range(15)}
    kinds = {f"{table}.{column}": "text" for table, columns in tables.items() for column in columns}
    x_sql = {"tables": tables, "kinds": kinds, "values": {"t1.c1_1": ["Word1"]}}
    schema = {"type": "object", "properties": {"sql": {"type": "string", "x-sql": x_sql}}}
    question = "contains " + " ".join(f"Word{i} 2{i:03} 2010-05-01" for i in range(3000))
    calls = CallGrammar([{"name": "sql_query", "parameters": schema}], Words((question,), False))
    refined = calls.refine('\n{"name": "sql_query", "arguments": {"sql": "SELECT COUNT(*) FROM ', Stage())
    assert refined is not None
    assert len(refined[0].gbnf) < 300_000


def test_kinds_and_values_are_bounded() -> None:
    many = {"Customer.City": [f"c{i}" for i in range(100)]}
    found = SqlSchema.of({"tables": TABLES, "kinds": {"Customer.City": "nonsense"}, "values": many})
    assert found is not None
    assert found.kinds == {}
    assert found.values is not None
    assert len(found.values["Customer", "City"]) == MAX_VALUES


@pytest.mark.parametrize(
    ("question", "column", "fits"),
    [
        ("Which track is the longest?", "Milliseconds", True),
        ("Which track is the longest?", "Bytes", False),
        ("Which track is the largest?", "Bytes", True),
    ],
)
def test_a_comparison_is_about_the_column_that_its_word_means(
    walker: Walker, question: str, column: str, fits: bool
) -> None:
    kinds = {"Track.Name": "text", "Track.Bytes": "number", "Track.Milliseconds": "number"}
    x_sql = {"tables": {"Track": ["Name", "Bytes", "Milliseconds"]}, "kinds": kinds, "values": {}}
    schema = {"type": "object", "properties": {"sql": {"type": "string", "x-sql": x_sql}}}
    calls = CallGrammar([{"name": "sql_query", "parameters": schema}], Words((question,), False))
    refined = calls.refine('\n{"name": "sql_query", "arguments": {"sql": "SELECT Name FROM Track ', Stage())
    assert refined is not None
    statement = f"SELECT Name FROM Track ORDER BY {column} DESC LIMIT 1"
    call = f'\n{{"name": "sql_query", "arguments": {{"sql": "{statement}"}}}}\n'
    assert walker.accepts(refined[0].gbnf, call) is fits
