"""Judging a search and an answer against the pages."""

from tests.trial.client import Turn
from tests.trial.documents import judge, mean_of, rank_of
from tests.trial.questions import DocumentQuestion

PAGES = {"leave.md": "Everyone has **26 days** of leave.", "travel.md": "Hotels cost up to 120 euros."}
QUESTION = DocumentQuestion(id="q", question="How many days?", pages=["leave.md"], evidence="26 days")


def page(name: str) -> str:
    return PAGES.get(name, "")


def source(document: str, quote: str) -> dict[str, object]:
    return {"n": 1, "document": document, "quote": quote}


def test_a_right_answer() -> None:
    turn = Turn(
        answer='The documents say: "Everyone has 26 days of leave." [1]',
        sources=[source("folder/leave.md", "Everyone has 26 days of leave.")],
    )
    result = judge(QUESTION, ["travel.md", "leave.md"], turn, page)
    assert result.rank == 2
    assert result.in_top
    assert result.founded
    assert result.right_page
    assert result.evidence


def test_an_answer_without_sources_is_not_founded() -> None:
    result = judge(QUESTION, [], Turn(answer="26 days."), page)
    assert not result.in_top
    assert not result.founded
    assert result.evidence


def test_words_that_no_cited_page_holds_are_named() -> None:
    turn = Turn(answer='"Everyone has 30 days." [1]', sources=[source("leave.md", "Everyone has 26 days")])
    result = judge(QUESTION, ["leave.md"], turn, page)
    assert result.unfounded == ["Everyone has 30 days."]
    assert not result.founded


def test_a_true_quote_of_a_wrong_page_is_founded_but_not_right() -> None:
    turn = Turn(answer="Up to 120.", sources=[source("travel.md", "Hotels cost up to 120 euros.")])
    result = judge(QUESTION, ["travel.md"], turn, page)
    assert result.founded
    assert not result.right_page


def test_ranks() -> None:
    assert rank_of(["a", "b", "c"], ["c", "b"]) == 2
    assert rank_of(["a"], ["b"]) == 0
    assert mean_of([1, 2, 0]) == 0.5
