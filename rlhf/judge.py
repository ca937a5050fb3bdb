"""Who says which of two answers is better, and the rules that can; `judging.py` has the other judges."""

import difflib
from collections.abc import Callable
from typing import Literal, Protocol

from rlhf.pairs import Row
from rlhf.preference import CITED, cites_first, passages_of

Better = Literal["first", "second", "tie"]
NEAR = 0.02
"""Difference of scores from which on one answer is better."""


class Judge(Protocol):
    """Compares two answers to the prompt of a row; it is asked twice, in both orders."""

    name: str

    def compare(self, row: Row, first: str, second: str) -> Better: ...


class RuleJudge:
    """The answer with the higher score is better. The same in both orders."""

    def __init__(self, name: str, score: Callable[[Row, str], float]) -> None:
        self.name, self.score = name, score

    def compare(self, row: Row, first: str, second: str) -> Better:
        """By score; about the same is a tie."""
        difference = self.score(row, first) - self.score(row, second)
        return "tie" if abs(difference) < NEAR else "first" if difference > 0 else "second"


def cite_first(row: Row, answer: str) -> float:
    """1 where the answer begins with the number of a passage that was found; with none, if none was."""
    if not passages_of(row["prompt"]):
        return float(CITED.match(answer) is None)
    return float(cites_first(row["prompt"], answer))


def like_chosen(row: Row, answer: str) -> float:
    """How much nearer, in words, an answer is to the one that was preferred than to the other; -1 to 1."""
    preferred, other = (str(row[key][-1].get("content") or "") for key in ("chosen", "rejected"))
    return nearness(answer, preferred) - nearness(answer, other)


def nearness(one: str, other: str) -> float:
    """Share of words in common, in order."""
    return difflib.SequenceMatcher(None, one.split(), other.split(), autojunk=False).ratio()


RULES: dict[str, Callable[[Row, str], float]] = {"cite_first": cite_first, "like_chosen": like_chosen}
KEPT: dict[str, Callable[[Row], bool]] = {"cite_first": lambda row: bool(passages_of(row["prompt"]))}
"""Rules that an answer keeps or breaks, whatever the other answer is, and the prompts that they are about."""


def rule(name: str) -> RuleJudge:
    """The rule of a name as a judge. KeyError where there is none."""
    return RuleJudge(name, RULES[name])
