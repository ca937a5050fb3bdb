"""Judging the query that an agent ran."""

from tests.trial.client import Call, Turn
from tests.trial.database import judge
from tests.trial.questions import Compare, DatabaseQuestion

QUESTION = DatabaseQuestion(
    id="q",
    question="How many customers are there?",
    sql="SELECT COUNT(*) FROM Customer",
    compare=Compare(kind="scalar", columns=[1]),
    figures=["59"],
)


def query(sql: str, rows: list[list[object]], ok: bool = True) -> Call:
    return Call("sql_query", {"sql": sql}, ok, "", {"sql": sql, "rows": rows} if ok else {})


def test_the_last_query_that_ran_counts() -> None:
    calls = [query("SELECT 1", [[1]]), query("SELECT 59", [[59]]), query("SELEC", [], ok=False)]
    result = judge(QUESTION, "general", Turn("There are 59 customers.", calls=calls), [(59,)])
    assert result.right
    assert result.said
    assert result.sql == "SELECT 59"


def test_a_refused_query_is_shown_but_wrong() -> None:
    result = judge(QUESTION, "general", Turn("Sorry.", calls=[query("DELETE", [], ok=False)]), [(59,)])
    assert not result.right
    assert result.sql == "DELETE"


def test_an_answer_without_a_query_is_wrong_even_with_the_figure() -> None:
    result = judge(QUESTION, "general", Turn("59"), [(59,)])
    assert result.said
    assert not result.right
    assert result.sql == ""
