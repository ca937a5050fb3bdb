"""Quotations are whole sentences of passages, with the right number."""

from llm_server.constraints.quotes import passages, quotes_grammar, sentences
from tests.llm_server.walking import Walker

RESULT = """[1] handbook.pdf > Leave > Sick leave
Employees accrue 4 hours of sick leave
every pay period. He said "no" to all of them. Ask e.g. your manager first.

- Keep receipts for three years
1. Fill in the form

[2] travel.md > page 3
Rates are $59.50 a day (see 4.2)."""


def test_passages_and_their_sentences() -> None:
    found = passages([RESULT])
    assert [number for number, _ in found] == [1, 2]
    assert sentences(found[0][1]) == [
        "Employees accrue 4 hours of sick leave every pay period.",
        "to all of them.",
        "Ask e.g. your manager first.",
        "Keep receipts for three years",
        "Fill in the form",
    ]
    assert sentences(found[1][1]) == ["Rates are $59.50 a day (see 4.2)."]


def test_only_real_quotations_pass(walker: Walker) -> None:
    grammar = quotes_grammar([RESULT])
    assert grammar is not None
    good = 'The documents say: "Employees accrue 4 hours of sick leave every pay period." [1]'
    assert walker.accepts(grammar.gbnf, good)
    assert walker.accepts(grammar.gbnf, f'{good} And "Rates are $59.50 a day (see 4.2)." [2] too.')
    assert walker.accepts(grammar.gbnf, "I could not find that in the documents.")
    for bad in (
        good.replace("[1]", "[2]"),
        good.replace(" [1]", ""),
        good.replace("4 hours", "5 hours"),
        good.replace("Employees accrue ", ""),
    ):
        assert not walker.accepts(grammar.gbnf, bad)


def test_without_passages_nothing_is_constrained() -> None:
    assert quotes_grammar(["No passage matches."]) is None
    assert quotes_grammar([]) is None
