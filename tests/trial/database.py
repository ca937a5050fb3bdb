"""The database part of the trial: does given SQL run, and does an agent write SQL with the same result?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tests.trial.client import ChainError, Gateway, Turn
from tests.trial.questions import DatabaseQuestion
from tests.trial.results import Row, same_result
from tests.trial.suite import Suite
from tests.trial.tables import code, shorten, table
from tests.trial.text import says

AGENTS = ("data-analyst", "general")


@dataclass(frozen=True)
class GivenResult:
    """The right SQL, run through the gateway."""

    question: DatabaseQuestion
    right: bool
    note: str = ""


@dataclass(frozen=True)
class DatabaseResult:
    """One question to one agent: the SQL that ran last, its result and the words about it."""

    question: DatabaseQuestion
    agent: str
    turn: Turn
    sql: str
    right: bool
    """Whether the result of the SQL is the right one."""

    @property
    def said(self) -> bool:
        """Whether the answer in words has every expected figure."""
        return all(says(self.turn.answer, figure) for figure in self.question.figures)


def run_given(gateway: Gateway, suite: Suite) -> list[GivenResult]:
    """Runs each right query as a tool call and compares it with SQLite's own result."""
    return [_run_given(gateway, suite, question) for question in suite.database_questions]


def ask_database(
    gateway: Gateway, suite: Suite, done: Callable[[DatabaseResult], None]
) -> list[DatabaseResult]:
    """Asks every agent every question; `done` hears of each result as it comes."""
    results = []
    for agent in AGENTS:
        for question in suite.database_questions:
            turn = gateway.chat(suite.database_project, agent, question.question)
            results.append(judge(question, agent, turn, suite.right_rows(question)))
            done(results[-1])
    return results


def judge(question: DatabaseQuestion, agent: str, turn: Turn, right: Sequence[Row]) -> DatabaseResult:
    """Holds the last query that ran against the right rows."""
    ran = [call.structured for call in turn.calls if call.name == "sql_query" and call.ok]
    if not ran:
        tried = [str(call.arguments.get("sql", "")) for call in turn.calls if call.name == "sql_query"]
        return DatabaseResult(question, agent, turn, tried[-1] if tried else "", False)
    same = same_result(right, ran[-1]["rows"], question.compare)
    return DatabaseResult(question, agent, turn, str(ran[-1]["sql"]), same)


def given_table(results: Sequence[GivenResult]) -> str:
    """One row a query."""
    rows = ([r.question.question, code(r.question.sql), r.right, r.note] for r in results)
    return table(["question", "SQL given by hand", "right", "note"], rows)


def database_table(results: Sequence[DatabaseResult]) -> str:
    """One row a question, misses included."""
    head = ["question", "SQL that ran", "right result", "said in words", "s", "answer"]
    return table(head, (_row(result) for result in results))


def _run_given(gateway: Gateway, suite: Suite, question: DatabaseQuestion) -> GivenResult:
    arguments = {"sql": question.sql, "database": suite.database_name}
    try:
        rows = gateway.tool("sql_query", arguments, suite.database_project)["rows"]
    except ChainError as error:
        return GivenResult(question, False, str(error))
    return GivenResult(question, same_result(suite.right_rows(question), rows, question.compare))


def _row(result: DatabaseResult) -> list[object]:
    return [
        result.question.question,
        code(result.sql) or "none",
        result.right,
        result.said,
        round(result.turn.seconds, 1),
        shorten(result.turn.error or result.turn.answer),
    ]
