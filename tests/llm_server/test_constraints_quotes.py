"""Quotations are whole sentences of passages, with the right number."""

from llm_server.constraints.fitting import best
from llm_server.constraints.quotes import Quote, quotes, quotes_grammar, sentences
from llm_server.embedder import EchoEmbedding, Embedder
from tests.llm_server.walking import Walker

RESULT = """[1] handbook.pdf > Leave > Sick leave
Employees accrue 4 hours of sick leave
every pay period. He said "no" to all of them. Ask e.g. your manager first.

- Keep receipts for three years
1. Fill in the form

[2] travel.md > page 3
Rates are $59.50 a day (see 4.2)."""


def test_passages_and_their_sentences() -> None:
    found = quotes([RESULT])
    assert [one.sentence for one in found if one.number == 1] == [
        "Employees accrue 4 hours of sick leave every pay period.",
        "to all of them.",
        "Ask e.g. your manager first.",
        "Keep receipts for three years",
        "Fill in the form",
    ]
    assert found[0].heading == "Sick leave"
    assert found[-1] == Quote("Rates are $59.50 a day (see 4.2).", 2, "page 3")
    assert sentences("One.\n\nTwo of three words.") == ["Two of three words."]


def test_the_sentence_that_fits_is_found_by_its_words_and_by_its_vector() -> None:
    found = quotes([RESULT])
    asked = "How much sick leave do I accrue?"
    assert best(asked, found, 1, None)[0].sentence.startswith("Employees accrue")
    embedder = Embedder(EchoEmbedding())
    try:
        # No rare word of the question is in the passage: only the vector knows `page 3`.
        assert best("page 3:", found, 1, embedder.embed_now)[0].number == 2
    finally:
        embedder.close()
    assert best(asked, [], 1, None) == []


def test_only_real_quotations_pass(walker: Walker) -> None:
    grammar = quotes_grammar(quotes([RESULT]))
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
    assert quotes_grammar(quotes(["No passage matches."])) is None
    assert quotes_grammar(quotes([])) is None
