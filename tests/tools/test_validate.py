"""What may run and what may not: leaks and false rejects are counted over corpora."""

from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import make_url

from tools.errors import QueryRefused, ToolsError
from tools.sql.catalog import Catalog, Column, Table
from tools.sql.limits import Limits, Stop
from tools.sql.postgres import PostgresDatabase
from tools.sql.sqlite import SqliteDatabase
from tools.sql.validate import validate

Corpus = Callable[[str], list[str]]
LIMITS = Limits(rows=1000, bytes=1_000_000, cell_chars=1000, seconds=5.0)


@pytest.fixture(scope="module")
def sqlite(shop: Path) -> SqliteDatabase:
    return SqliteDatabase("shop", shop)


@pytest.fixture(scope="module")
def postgres(postgres_shop: str) -> PostgresDatabase:
    return PostgresDatabase("shop", make_url(postgres_shop))


def leaks(statements: list[str], catalog: Catalog) -> list[str]:
    """Statements that come through, or that fail in another way than by being refused."""
    through = []
    for statement in statements:
        try:
            validate(statement, catalog, 1000)
        except QueryRefused:
            continue
        except Exception as error:
            through.append(f"{statement} ({type(error).__name__})")
        else:
            through.append(statement)
    return through


def false_rejects(statements: list[str], database: SqliteDatabase | PostgresDatabase) -> list[str]:
    """Legitimate statements that are refused, or that do not run once they were rendered."""
    catalog = database.discover()
    rejected = []
    for statement in statements:
        try:
            database.run(validate(statement, catalog, 1000), LIMITS, Stop())
        except ToolsError as error:
            rejected.append(f"{statement}: {error}")
    return rejected


def test_no_unsafe_statement_passes_for_sqlite(corpus: Corpus, sqlite: SqliteDatabase) -> None:
    statements = corpus("unsafe-both.sql") + corpus("unsafe-sqlite.sql")
    assert len(statements) > 150
    assert leaks(statements, sqlite.discover()) == []


def test_no_unsafe_statement_passes_for_postgres(corpus: Corpus, postgres: PostgresDatabase) -> None:
    statements = corpus("unsafe-both.sql") + corpus("unsafe-postgres.sql")
    assert len(statements) > 200
    assert leaks(statements, postgres.discover()) == []


def test_no_legitimate_question_is_refused_for_sqlite(corpus: Corpus, sqlite: SqliteDatabase) -> None:
    statements = corpus("legitimate-sqlite.sql")
    assert len(statements) >= 40
    assert false_rejects(statements, sqlite) == []


def test_no_legitimate_question_is_refused_for_postgres(corpus: Corpus, postgres: PostgresDatabase) -> None:
    statements = corpus("legitimate-postgres.sql")
    assert len(statements) >= 40
    assert false_rejects(statements, postgres) == []


def catalog(dialect: str = "sqlite") -> Catalog:
    def table(name: str, *columns: str) -> Table:
        return Table(
            name=name,
            columns=tuple(Column(name=c, type="TEXT", nullable=True, primary_key=False) for c in columns),
        )

    return Catalog(
        name="shop",
        dialect=dialect,
        default_schema="main" if dialect == "sqlite" else "public",
        tables=(
            table("Customer", "CustomerId", "FirstName"),
            table("Invoice", "InvoiceId", "CustomerId", "Total"),
        ),
    )


@pytest.mark.parametrize(
    ("given", "runs"),
    [
        ("select * from Customer", "SELECT * FROM Customer LIMIT 101"),
        ("SELECT * FROM Customer LIMIT 5", "SELECT * FROM Customer LIMIT 5"),
        ("SELECT * FROM Customer LIMIT 5000", "SELECT * FROM Customer LIMIT 101"),
        ("SELECT * FROM Customer LIMIT 5 OFFSET 3;", "SELECT * FROM Customer LIMIT 5 OFFSET 3"),
        ("SELECT COUNT(*), SUM(Total) / 2 FROM Invoice", "SELECT COUNT(*), SUM(Total) / 2 FROM Invoice"),
        (
            "SELECT COUNT(*) FROM Invoice GROUP BY Total",
            "SELECT COUNT(*) FROM Invoice GROUP BY Total LIMIT 101",
        ),
        ("SELECT SUM(Total) OVER () FROM Invoice", "SELECT SUM(Total) OVER () FROM Invoice LIMIT 101"),
        ("SELECT MAX(Total), InvoiceId FROM Invoice", "SELECT MAX(Total), InvoiceId FROM Invoice LIMIT 101"),
        ("SELECT 1 /* x */ -- y", "SELECT 1 LIMIT 101"),
        ("SELECT 1 UNION SELECT 2", "SELECT 1 UNION SELECT 2 LIMIT 101"),
        ("SELECT * FROM Customer /*!50000 INTO OUTFILE '/tmp/x' */", "SELECT * FROM Customer LIMIT 101"),
    ],
)
def test_what_runs_is_rendered_without_comments_and_with_a_limit(given: str, runs: str) -> None:
    assert validate(given, catalog(), 100) == runs


@pytest.mark.parametrize("depth", [20, 60, 100, 150, 200, 300])
def test_no_depth_of_nesting_ends_in_another_error(depth: int) -> None:
    nested = "SELECT " + "(SELECT " * depth + "1" + ")" * depth
    for statement in (nested, "SELECT " + "(" * depth + "1" + ")" * depth, "SELECT " + "-" * depth + "1"):
        try:
            validate(statement, catalog(), 10)
        except QueryRefused:
            continue


def test_a_limit_that_is_no_number_is_replaced() -> None:
    assert validate("SELECT 1 LIMIT 1 + 999999", catalog(), 10).endswith("LIMIT 11")


def test_postgres_names_are_spelled_as_the_database_does() -> None:
    runs = validate("SELECT customer.firstname FROM customer", catalog("postgres"), 10)
    assert runs == 'SELECT "Customer"."FirstName" FROM "Customer" LIMIT 11'


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("SELECT Name FROM Customer", "no such column: Name. Did you mean FirstName?"),
        ("SELECT Customer.Total FROM Customer", "Columns of Customer: CustomerId, FirstName."),
        ("SELECT c.Total FROM Customer AS c", "no such column: c.Total"),
        ("SELECT * FROM Customers", "no such table: Customers. Did you mean Customer?"),
        ("SELECT * FROM Customers", "Tables of shop: Customer, Invoice"),
        ("DROP TABLE Customer", "Only SELECT can run here, this is DROP"),
        ("SELECT 1; SELECT 2", "Exactly one SELECT"),
        ("", "Exactly one SELECT"),
        ("SELECT FROM WHERE", "This is not a statement that can be read"),
        ("SELECT strftim('%Y', Total) FROM Invoice", "Near to it: strftime"),
        ("SELECT CustomerId FROM Customer JOIN Invoice ON 1 = 1", "ambiguous"),
        ("SELECT " + "1 + " * 9000 + "1", "characters"),
        ("SELECT " + "(" * 900 + "1" + ")" * 900, "nested too deeply"),
        ("SELECT '\x00'", "NUL"),
    ],
)
def test_a_refusal_says_what_to_change(given: str, says: str) -> None:
    with pytest.raises(QueryRefused) as refusal:
        validate(given, catalog(), 10)
    assert says in str(refusal.value)
