"""How often the gate is right: many evaluations of which the truth is known, each judged by `decide`.

A simulated judge knows which answer is better. In each order it names that answer, but for the share
`position_bias`, in which it names whatever is shown first. Both orders merged, such verdicts become flips.
"""

import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from rlhf.errors import BadJudgements
from rlhf.gate import Check, Choice, Judgement, Verdict, decide, wilson

VERDICTS: tuple[Verdict, ...] = ("promote", "reject", "not enough data")


@dataclass(frozen=True)
class Truth:
    """What is really so, and how much of it is seen.

    Attributes:
        win_rate: the candidate's true share of the pairs in which one answer is better.
        decisive_pairs: judgements without tie or flip in each evaluation.
        tie_rate: share of the pairs in which neither answer is better.
        position_bias: share of the verdicts that name whatever is shown first.
        broken: a regression check fails.
    """

    win_rate: float
    decisive_pairs: int
    tie_rate: float = 0.1
    position_bias: float = 0.0
    broken: bool = False

    def __post_init__(self) -> None:
        """Refuse what could never come to an end.

        Raises:
            BadJudgements: a share is no share, or there would never be a decisive pair.
        """
        shares = {"tie_rate": self.tie_rate, "position_bias": self.position_bias}
        if not 0 <= self.win_rate <= 1 or self.decisive_pairs < 0:
            raise BadJudgements("win_rate must be between 0 and 1, decisive_pairs at least 0")
        for name, share in shares.items():
            if not 0 <= share < 1:
                raise BadJudgements(f"{name} {share} must be at least 0 and below 1")


@dataclass(frozen=True)
class Rate:
    """How often a verdict came. `low` and `high`: 95 % Wilson interval of the share."""

    verdict: Verdict
    runs: int
    share: float
    low: float
    high: float


def simulate(
    truth: Truth, runs: int, seed: int, *, minimum: int = 50, confidence: float = 0.95
) -> list[Rate]:
    """The rate of each verdict over `runs` evaluations; equal arguments give equal rates."""
    if runs < 1:
        raise BadJudgements(f"runs {runs} must be at least 1")
    draw = random.Random(seed)
    checks = [Check("planted", not truth.broken, "as the simulation wants it")]
    found = Counter(
        decide(list(judgements(truth, draw)), checks, minimum=minimum, confidence=confidence).verdict
        for _ in range(runs)
    )
    return [Rate(v, found[v], found[v] / runs, *wilson(found[v], runs)) for v in VERDICTS]


def judgements(truth: Truth, draw: random.Random) -> Iterator[Judgement]:
    """One evaluation: as many pairs as it takes to have the decisive ones."""
    decisive = number = 0
    while decisive < truth.decisive_pairs:
        judgement = _judge(truth, f"prompt-{number}", draw)
        decisive += judgement.merged != "tie"
        number += 1
        yield judgement


def _judge(truth: Truth, prompt_id: str, draw: random.Random) -> Judgement:
    if draw.random() < truth.tie_rate:
        better: Choice = "tie"
    else:
        better = "candidate" if draw.random() < truth.win_rate else "current"
    biased = [draw.random() < truth.position_bias for _ in range(2)]
    # Shown first is the candidate in the first order and the current adapter in the second.
    return Judgement(prompt_id, "candidate" if biased[0] else better, "current" if biased[1] else better)
