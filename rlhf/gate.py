"""Is the candidate better than the current adapter? A verdict from judgements. Free of torch.

Every pair of answers is judged in both orders, and only what both say counts; everything else is a tie: a
third of a strong judge's verdicts change with the order (Zheng et al. 2023, arXiv 2306.05685). Verdicts that
contradict each other are counted as flips.

The win rate is wins / (wins + losses); ties say nothing about it. Its interval is Wilson's score interval
(E. B. Wilson, JASA 22, 1927), which keeps its coverage where the usual one does not (Brown, Cai and
DasGupta, Statistical Science 16, 2001). Judgements that share a prompt are not independent: a bootstrap that
draws whole prompts (Field and Welsh, JRSS B 69, 2007) gives a second interval, and the wider bounds count.
"""

import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import NormalDist
from typing import Literal

from rlhf.errors import BadJudgements

Choice = Literal["candidate", "current", "tie"]
Verdict = Literal["promote", "reject", "not enough data"]
CHOICES = ("candidate", "current", "tie")
HALF = 0.5
RESAMPLES = 2000


@dataclass(frozen=True)
class Judgement:
    """What a judge preferred of two answers to a prompt: the candidate's shown first, then shown second."""

    prompt_id: str
    first: Choice
    second: Choice

    @property
    def flip(self) -> bool:
        """The two verdicts contradict each other."""
        return self.first != self.second and "tie" not in (self.first, self.second)

    @property
    def merged(self) -> Choice:
        """What both orders say, else a tie: one order alone may only tell which place the judge likes."""
        return self.first if self.first == self.second else "tie"


@dataclass(frozen=True)
class Check:
    """A regression check and what it found."""

    name: str
    passed: bool
    detail: str


@dataclass(frozen=True)
class Decision:
    """A verdict and everything that it rests on.

    Attributes:
        ties: flips are among them.
        win_rate: wins / (wins + losses), None without a decisive judgement.
        low: lower bound of the two-sided interval of the win rate; 0 without a decisive judgement.
        high: upper bound; 1 without a decisive judgement.
        reasons: sentences for the report.
    """

    verdict: Verdict
    wins: int
    losses: int
    ties: int
    flips: int
    win_rate: float | None
    low: float
    high: float
    reasons: tuple[str, ...]
    checks: tuple[Check, ...]


def decide(
    judgements: Sequence[Judgement], checks: Sequence[Check], *, minimum: int = 50, confidence: float = 0.95
) -> Decision:
    """Promote only what is proven to be better and breaks nothing.

    Args:
        judgements: of held-out prompts; several may share a prompt.
        checks: regression checks; one that failed rejects, whatever the judgements say.
        minimum: decisive judgements below which the answer is "not enough data". Those of one prompt count as
            one: asking about the same prompt again brings no new data.
        confidence: of the two-sided interval.

    Raises:
        BadJudgements: a choice is unknown, or minimum or confidence makes no sense.
    """
    _require_sense(judgements, minimum, confidence)
    merged = [judgement.merged for judgement in judgements]
    wins, losses = merged.count("candidate"), merged.count("current")
    prompts = _by_prompt(judgements)
    low, high = _interval(prompts, confidence)
    verdict, reasons = _verdict(len(prompts), low, high, checks, minimum)
    return Decision(
        verdict=verdict,
        wins=wins,
        losses=losses,
        ties=merged.count("tie"),
        flips=sum(judgement.flip for judgement in judgements),
        win_rate=wins / (wins + losses) if wins + losses else None,
        low=low,
        high=high,
        reasons=tuple(reasons),
        checks=tuple(checks),
    )


def wilson(wins: int, total: int, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval of a proportion (Brown, Cai and DasGupta 2001, formula 4); (0, 1) of nothing.

    With z the normal quantile and p = wins / total:
    (p + z²/2n ± z √(p(1-p)/n + z²/4n²)) / (1 + z²/n).
    """
    if not total:
        return 0.0, 1.0
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    rate = wins / total
    centre = rate + z * z / (2 * total)
    spread = z * sqrt(rate * (1 - rate) / total + z * z / (4 * total * total))
    scale = 1 + z * z / total
    return max(0.0, (centre - spread) / scale), min(1.0, (centre + spread) / scale)


def cluster_bootstrap(
    clusters: Sequence[tuple[int, int]], confidence: float = 0.95, resamples: int = RESAMPLES, seed: int = 0
) -> tuple[float, float]:
    """Percentile interval of a proportion whose observations come in clusters.

    Args:
        clusters: (wins, losses) of each, at least one observation in all.
        seed: the same clusters in the same order give the same interval.
    """
    draw = random.Random(seed)
    rates: list[float] = []
    while len(rates) < resamples:
        drawn = draw.choices(clusters, k=len(clusters))
        wins, losses = sum(won for won, _ in drawn), sum(lost for _, lost in drawn)
        if wins + losses:
            rates.append(wins / (wins + losses))
    rates.sort()
    tail = round((1 - confidence) / 2 * (resamples - 1))
    return rates[tail], rates[-1 - tail]


def _by_prompt(judgements: Sequence[Judgement]) -> list[tuple[int, int]]:
    """(wins, losses) of every prompt with a decisive judgement, whatever the order of the judgements."""
    counts: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for judgement in judgements:
        if judgement.merged != "tie":
            counts[judgement.prompt_id][judgement.merged == "current"] += 1
    return sorted((wins, losses) for wins, losses in counts.values())


def _interval(prompts: Sequence[tuple[int, int]], confidence: float) -> tuple[float, float]:
    wins, losses = sum(won for won, _ in prompts), sum(lost for _, lost in prompts)
    low, high = wilson(wins, wins + losses, confidence)
    if len(prompts) == wins + losses:
        return low, high
    drawn_low, drawn_high = cluster_bootstrap(prompts, confidence)
    return min(low, drawn_low), max(high, drawn_high)


def _verdict(
    decisive: int, low: float, high: float, checks: Sequence[Check], minimum: int
) -> tuple[Verdict, list[str]]:
    if failed := [check for check in checks if not check.passed]:
        return "reject", [f"The check {check.name!r} failed: {check.detail}" for check in failed]
    if decisive < minimum:
        return "not enough data", [f"{decisive} prompts with a decisive judgement, {minimum} are needed."]
    bounds = f"the win rate is between {low:.3f} and {high:.3f}"
    if low > HALF:
        return "promote", [f"The candidate is better: {bounds}.", f"{len(checks)} checks passed."]
    if high < HALF:
        return "reject", [f"The candidate is worse: {bounds}."]
    return "reject", [f"{decisive} prompts prove no improvement: {bounds}."]


def _require_sense(judgements: Sequence[Judgement], minimum: int, confidence: float) -> None:
    if minimum < 1 or not 0 < confidence < 1:
        raise BadJudgements(f"minimum {minimum} must be at least 1, confidence {confidence} between 0 and 1")
    for judgement in judgements:
        for choice in (judgement.first, judgement.second):
            if choice not in CHOICES:
                raise BadJudgements(
                    f"{judgement.prompt_id}: a judge may say {', '.join(CHOICES)}, not {choice!r}"
                )
