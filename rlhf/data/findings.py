"""What was found in a text, and how findings that overlap become one."""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """Characters `start` to `end` of a text; `score` is 1 where check digits or an exact form prove it."""

    kind: str
    start: int
    end: int
    score: float = 1.0


def resolved(findings: Iterable[Finding]) -> list[Finding]:
    """Findings that do not overlap, in the order of the text.

    What overlaps is replaced as a whole, so that no end of the shorter one stays; its kind is that of the
    longest, of equally long ones that with the best score.
    """
    whole: list[Finding] = []
    best: list[Finding] = []
    for one in sorted(findings, key=lambda one: (one.start, -one.end)):
        if whole and one.start < whole[-1].end:
            best[-1] = max(best[-1], one, key=lambda each: (each.end - each.start, each.score))
            end = max(whole[-1].end, one.end)
            whole[-1] = Finding(best[-1].kind, whole[-1].start, end, best[-1].score)
        else:
            whole.append(one)
            best.append(one)
    return whole
