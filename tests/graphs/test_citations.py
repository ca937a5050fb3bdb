"""Quotes of an answer against the passages that it cites."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphs.citations import Passage, citations, locate, normalise, passages, verify

TEXT = "Employees accrue **4 hours** of sick\nleave. Unused hours carry over."
LEAVE = Passage(1, "leave.md", "d1", TEXT, start=50, end=120)
TRAVEL = Passage(2, "travel.md", "d2", "Meals are paid per diem.", page=7, section="Meals", score=0.5)


@pytest.mark.parametrize(
    "quote",
    [
        "Employees accrue 4 hours of sick leave.",
        "employees accrue 4 hours of sick leave",
        "Employees  accrue 4 hours of sick leave.",
        "accrue **4 hours**",
    ],
)
def test_a_quote_is_found_whatever_its_spaces_marks_and_case(quote: str) -> None:
    span = locate(quote, LEAVE.text)
    assert span is not None
    assert LEAVE.text[slice(*span)].lower().startswith(("employees accrue", "accrue"))


def test_a_true_quote_is_verified_and_placed() -> None:
    (source,) = verify('They say: "Unused hours carry over." [1]', [LEAVE, TRAVEL])
    assert source.verified
    assert (source.start, source.end) == (50 + LEAVE.text.index("Unused"), 50 + len(LEAVE.text) - 1)


def test_an_invented_quote_is_not() -> None:
    (source,) = verify('"Employees accrue 9 hours of sick leave." [1]', [LEAVE, TRAVEL])
    assert not source.verified
    assert source.document == "leave.md"


def test_a_true_quote_with_the_wrong_number_is_not_verified() -> None:
    (source,) = verify('"Unused hours carry over." [2]', [LEAVE, TRAVEL])
    assert (source.n, source.verified) == (2, False)


def test_a_number_without_a_quote_is_a_source_that_nothing_verifies() -> None:
    (source,) = verify("Meals are covered [2].", [LEAVE, TRAVEL])
    assert (source.document, source.page, source.section, source.quote, source.verified) == (
        "travel.md",
        7,
        "Meals",
        "",
        False,
    )


def test_a_number_that_no_passage_has_is_no_source() -> None:
    assert verify("See [9].", [LEAVE, TRAVEL]) == []


def test_a_long_quote_without_a_number_finds_its_passage() -> None:
    (source,) = verify('It says "Meals are paid per diem."', [LEAVE, TRAVEL])
    assert (source.n, source.verified) == (2, True)


def test_names_in_quotes_are_no_citations() -> None:
    assert verify('The album "Abbey Road" has 17 tracks.', [LEAVE]) == []


def test_several_numbers_and_typographic_quotes() -> None:
    found = verify("“Unused hours carry over.” [1] [2]", [LEAVE, TRAVEL])
    assert [(source.n, source.verified) for source in found] == [(1, True), (2, False)]


@pytest.mark.parametrize(
    "sentence",
    [
        "Once a reservation is made, you will get a “pending” itinerary before departure.",
        'The "182 Hours" rule is on page 4.',
    ],
)
def test_a_quoted_sentence_may_hold_quotation_marks(sentence: str) -> None:
    passage = Passage(1, "a.md", "d", f"Before. {sentence} After.", start=0)
    (source,) = verify(f'The documents say: "{sentence}" [1]', [passage])
    assert (source.quote, source.verified) == (sentence, True)


def test_two_citations_in_a_row() -> None:
    answer = 'He said "hello". "Unused hours carry over." [1] And: "Meals are paid per diem." [2]'
    found = verify(answer, [LEAVE, TRAVEL])
    assert [(source.n, source.quote, source.verified) for source in found] == [
        (1, "Unused hours carry over.", True),
        (2, "Meals are paid per diem.", True),
    ]


def test_the_same_citation_twice_is_one_source() -> None:
    assert len(verify('"Meals are paid per diem." [2] and "Meals are paid per diem." [2]', [TRAVEL])) == 1


def test_of_two_searches_the_one_that_holds_the_quote_is_meant() -> None:
    later = Passage(1, "other.md", "d3", "Something else.")
    (source,) = verify('"Unused hours carry over." [1]', [LEAVE, later])
    assert source.document == "leave.md"


def test_passages_of_a_result_without_structure() -> None:
    assert passages(None) == []


@given(st.text())
def test_no_answer_breaks_the_verification(answer: str) -> None:
    verify(answer, [LEAVE, TRAVEL])
    list(citations(answer))


@given(st.text(min_size=1), st.text(), st.text())
def test_what_is_copied_is_found(quote: str, before: str, after: str) -> None:
    text = f"{before} {quote} {after}"
    folded, places = normalise(text)
    assert len(folded) == len(places)
    if normalise(quote)[0].strip().rstrip(".").strip():
        span = locate(quote, text)
        # A combining mark at an end can join its neighbour; everything else must be found.
        assert span is not None or normalise(quote)[0] not in folded
