"""Figures and names of an answer are cells of the result."""

import pytest

from llm_server.constraints.cells import GAP, cells_grammar
from tests.llm_server.walking import Walker

TOP = "Name | total\nQueen of Ice | 25.5\nThe 3 Who | 11\n(2 rows)"
ONE = "COUNT(*)\n59\n(1 row)"
LONGEST = "Name | Milliseconds\nOccupation / Precipice | 5286953\n(1 row)"
MANY = "a\n" + "\n".join(f"Row{i}" for i in range(20)) + "\n(1000+ rows)"


@pytest.mark.parametrize(
    ("result", "asked", "answer"),
    [
        (TOP, "top 5?", "The top 2 by total: Queen of Ice (25.5), The 3 Who (11)."),
        (TOP, "top 5?", "There are 2, not 5: Queen of Ice (25.5)."),
        (ONE, "how many?", "There are 59 customers."),
        (LONGEST, "which?", "Occupation / Precipice, with milliseconds 5286953."),
        (LONGEST, "which?", "It is Occupation / Precipice."),
        (LONGEST, "which?", "the longest has 5286953 ms"),
        (MANY, "list", "By a: Row0, Row19 and 980 more."),
        (ONE, "How many live in Brazil?", "There are 59 in Brazil."),
        (TOP, "?", "There are 2"),
        ("x | y\nNULL | 3\n(1 row)", "?", "NULL, with y 3."),
    ],
)
def test_what_the_result_has_can_be_said(walker: Walker, result: str, asked: str, answer: str) -> None:
    grammar = cells_grammar(result, asked)
    assert grammar is not None
    assert walker.accepts(grammar.gbnf, answer)


@pytest.mark.parametrize(
    ("result", "answer"),
    [
        (TOP, "The top 2 by total: Queen of Snow (25.5)."),
        (TOP, "Queen of Ice (11)."),
        (TOP, "Queen of Ice (25.5), Queen of Ice (25.5)."),
        (TOP, "The total is 36.5."),
        (ONE, "There are 590 customers."),
        (ONE, "There are 5 customers."),
        (ONE, "There are 5959 customers."),
        (LONGEST, "Occupation, with milliseconds 5286953."),
        (LONGEST, "Through a glass, with milliseconds 5286953."),
        (LONGEST, "Theodore has 5286953."),
    ],
)
def test_what_it_has_not_cannot(walker: Walker, result: str, answer: str) -> None:
    grammar = cells_grammar(result, "which?")
    assert grammar is not None
    assert not walker.accepts(grammar.gbnf, answer)


@pytest.mark.parametrize(
    "text",
    ["", "no such column: x. Columns: a, b", "[1] a.md > B\nText of 3 pages.", "a\n(0 rows)", "(1 row)"],
)
def test_without_a_result_nothing_is_constrained(text: str) -> None:
    assert cells_grammar(text, "?") is None


def test_a_row_that_was_begun_is_soon_gone_on_with(walker: Walker) -> None:
    grammar = cells_grammar(TOP, "top 5?")
    assert grammar is not None
    assert walker.accepts(grammar.gbnf, grammar.example)
    assert walker.accepts(grammar.gbnf, f"Queen of Ice{' ' * GAP}25.5")
    assert not walker.accepts(grammar.gbnf, f"Queen of Ice{' ' * (GAP + 1)}25.5")


def test_a_wide_row_is_a_small_grammar_and_a_huge_result_none(walker: Walker) -> None:
    cells = [f"Cell {i}" for i in range(100)]
    grammar = cells_grammar(f"h\n{' | '.join(cells)}\n(1 row)", "?")
    assert grammar is not None
    assert len(grammar.gbnf) < 10_000
    assert walker.accepts(grammar.gbnf, "It has Cell 3, and Cell 4, and then Cell 5.")
    assert cells_grammar(f"h\n{' | '.join(cells * 10)}\n(1 row)", "?") is None
    assert cells_grammar(f"h\nx\n({'9' * 5000} rows)", "?") is None
