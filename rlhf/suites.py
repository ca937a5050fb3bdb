"""What an adapter is examined in beside the preference: calls, statements that run, passages that answer.

The starter's own examination, drawn from words of this project alone, so that it needs no corpus and another
seed gives cases that nobody has looked at.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from random import Random

from rlhf.preference import FactPassages, own_words
from rlhf.starter.cases import Case, handwritten, own, quiet, retrieval, several_tables
from rlhf.starter.evaluate import mean

WRITTEN = Path(__file__).parent / "starter" / "handwritten.yaml"
CALLS, SQL, RETRIEVAL = "tool calls", "SQL execution", "retrieval"
SUITES = (CALLS, SQL, RETRIEVAL)
Figures = Mapping[str, Mapping[str, float]]
"""Kind of case to `count`, `valid`, `exact` and, where a call is wanted, `tool`."""


def cases_of(suite: str, count: int, seed: int) -> list[Case]:
    """`count` cases of each kind of a suite; always the same for the same seed, none for none.

    `tool calls`: known and new wording, talk, hand-written sentences. `SQL execution`: questions to new
    databases, right where the statement gives the same rows. `retrieval`: which of five passages answers.
    """
    if not count:
        return []
    rng, words = Random(seed), own_words()
    if suite == SQL:
        return list(several_tables(rng, words, count))
    if suite == RETRIEVAL:
        return list(retrieval(FactPassages(rng, words.other_half()), count))
    cases = [*own(rng, words, False, count), *own(rng, words, True, count), *quiet(rng, words, count)]
    return cases + list(handwritten(WRITTEN))


def overall(kinds: Figures) -> dict[str, float]:
    """Shares over all kinds of a suite."""
    rows = [dict(row) for row in kinds.values()]
    called: Sequence[dict[str, float]] = [row for row in rows if "tool" in row]
    count = sum(row["count"] for row in rows)
    if not count:
        return {"count": 0}
    out = {"count": count, "exact": mean(rows, "exact"), "valid": mean(rows, "valid")}
    return out | ({"tool": mean(called, "tool")} if called else {})
