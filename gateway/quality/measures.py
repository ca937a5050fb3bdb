"""Whether an adapter answers worse than what answered before it: shares with an interval, no single number.

Two shares differ when the interval of their difference leaves zero out (Newcombe, 1998, method 10: the
intervals of Wilson, 1927, of both).
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist, quantiles
from typing import Literal

State = Literal["unknown", "ok", "watch", "worse"]
STATES: tuple[State, ...] = ("unknown", "ok", "watch", "worse")
"""From the least to the most alarming."""
CONFIDENCE = 0.99
"""Of each of the five: together they are wrong by chance in one window of twenty at most."""
MARGIN = 0.05
"""A share that has risen by so much is watched before it is proven."""
SLOW = 10
"""Of the answers before, one in so many is slow."""
REFUSAL = re.compile(
    r"\s*(i['’]m sorry|i am sorry|sorry,|i can(no|['’])t\b|i( a|['’])m (unable|not able) to|as an ai\b)",
    re.IGNORECASE,
)
"""How answers begin that refuse, in English."""


@dataclass(frozen=True)
class Answer:
    """One answer of a chat, as its trace has it."""

    model: str
    """The exact name of what answered: `base:adapter@sha256:…`, or a base."""
    at: str
    """ISO 8601 in UTC."""
    text: str
    seconds: float | None
    tools: int = 0
    failed_tools: int = 0
    thumb: bool | None = None
    judged: bool | None = None
    """Whether it was preferred to another answer; ties say nothing."""


@dataclass(frozen=True)
class Share:
    """`bad` of `all`."""

    bad: int
    all: int

    @property
    def rate(self) -> float:
        """From 0 to 1; 0 of none."""
        return self.bad / self.all if self.all else 0.0


@dataclass(frozen=True)
class Finding:
    """One measure, before and now."""

    state: State
    reason: str
    before: Share
    now: Share
    low: float | None = None
    """Of the interval of the difference, now less before; None where there is too little."""
    high: float | None = None


CALLED: Mapping[str, str] = {
    "thumbs_down": "of the thumbs are down",
    "judged_worse": "of the judgements prefer the other answer",
    "tool_errors": "of the tool calls fail",
    "refusals": "of the answers refuse",
    "slow": "of the answers are slower than nine in ten were before",
}


def shares(answers: Sequence[Answer], slow_from: float | None) -> dict[str, Share]:
    """What is counted of answers, by measure. `slow_from`: seconds."""
    thumbs = [one.thumb for one in answers if one.thumb is not None]
    judged = [one.judged for one in answers if one.judged is not None]
    timed = [one.seconds for one in answers if one.seconds is not None]
    return {
        "thumbs_down": Share(thumbs.count(False), len(thumbs)),
        "judged_worse": Share(judged.count(False), len(judged)),
        "tool_errors": Share(sum(one.failed_tools for one in answers), sum(one.tools for one in answers)),
        "refusals": Share(sum(bool(REFUSAL.match(one.text)) for one in answers), len(answers)),
        "slow": Share(sum(slow_from is not None and one > slow_from for one in timed), len(timed)),
    }


def slowness(answers: Iterable[Answer]) -> float | None:
    """The seconds that nine in ten answers stay below; None of fewer than two."""
    timed = [one.seconds for one in answers if one.seconds is not None]
    return quantiles(timed, n=SLOW, method="inclusive")[-1] if len(timed) > 1 else None


def compared(before: Mapping[str, Share], now: Mapping[str, Share], minimum: int) -> dict[str, Finding]:
    """Every measure. `minimum`: counts on either side below which nothing is said."""
    return {
        name: _finding(name, before.get(name, Share(0, 0)), share, minimum) for name, share in now.items()
    }


def overall(findings: Mapping[str, Finding]) -> tuple[State, str]:
    """The most alarming of them, and what it says."""
    worst = max(findings.values(), key=lambda one: STATES.index(one.state))
    if worst.state in ("worse", "watch"):
        return worst.state, "; ".join(one.reason for one in findings.values() if one.state == worst.state)
    return worst.state, "nothing is worse than before" if worst.state == "ok" else worst.reason


def _finding(name: str, before: Share, now: Share, minimum: int) -> Finding:
    if min(before.all, now.all) < minimum:
        reason = f"too little to compare: {now.all} now and {before.all} before, {minimum} are needed"
        return Finding("unknown", reason, before, now)
    low, high = difference(before, now)
    said = f"{now.rate:.0%} {CALLED[name]}, {before.rate:.0%} before (difference {low:+.0%} to {high:+.0%})"
    state: State = "worse" if low > 0 else "watch" if now.rate - before.rate >= MARGIN else "ok"
    return Finding(state, said, before, now, low, high)


def difference(before: Share, now: Share, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Interval of the rate now less that before."""
    (low_before, high_before), (low_now, high_now) = (_wilson(one, confidence) for one in (before, now))
    change = now.rate - before.rate
    below = math.hypot(now.rate - low_now, high_before - before.rate)
    above = math.hypot(high_now - now.rate, before.rate - low_before)
    return change - below, change + above


def _wilson(share: Share, confidence: float) -> tuple[float, float]:
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    n, p = share.all, share.rate
    middle = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return middle - half, middle + half
