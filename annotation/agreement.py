"""How far judgements can be trusted: agreement between people, and what one person's verdicts depend on.

A label is any value that can be compared; None is a missing one.
"""

from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from math import comb
from typing import Literal

Shown = Literal["first", "second", "tie"]


def cohen_kappa(one: Sequence[Hashable | None], other: Sequence[Hashable | None]) -> float | None:
    """Agreement of two annotators beyond chance (J. Cohen, 1960): (observed - expected) / (1 - expected).

    Items that one of them did not label are left out. None if nothing is left, or if both used one and the
    same label throughout, where chance alone explains everything.

    Raises:
        ValueError: the annotators have lists of different lengths.
    """
    both = [(a, b) for a, b in zip(one, other, strict=True) if a is not None and b is not None]
    if not both:
        return None
    observed = sum(a == b for a, b in both) / len(both)
    first, second = Counter(a for a, _ in both), Counter(b for _, b in both)
    expected = sum(first[label] * second[label] for label in first) / len(both) ** 2
    return None if expected == 1 else (observed - expected) / (1 - expected)


def krippendorff_alpha(units: Sequence[Sequence[Hashable | None]]) -> float | None:
    """Nominal alpha of any number of annotators (K. Krippendorff, Computing Krippendorff's Alpha, 2011).

    1 - observed / expected disagreement, from the matrix of coincidences: a unit with m labels gives each
    of its ordered pairs the weight 1 / (m - 1). Units with fewer than two labels say nothing.

    Args:
        units: of each unit, the labels that it was given.

    Returns:
        None without a unit of two labels, or if only one label was ever used.
    """
    totals: Counter[Hashable] = Counter()
    observed = 0.0
    for unit in units:
        counts = Counter(label for label in unit if label is not None)
        size = counts.total()
        if size < 2:
            continue
        totals.update(counts)
        observed += sum(count * (size - count) for count in counts.values()) / (size - 1)
    size = totals.total()
    expected = sum(count * (size - count) for count in totals.values())
    return 1 - (size - 1) * observed / expected if expected else None


@dataclass(frozen=True)
class PositionBias:
    """How often the answer shown first was preferred.

    Attributes:
        share: first / (first + second), None without such a verdict. It is one half where the sides were
            drawn at random and the annotator does not mind the place.
        p_value: probability of so uneven a share, or a more uneven one, without bias (two-sided sign test).
    """

    first: int
    second: int
    share: float | None
    p_value: float


def position_bias(verdicts: Sequence[Shown]) -> PositionBias:
    """Does an annotator or a judge prefer a place? Ties say nothing about it."""
    first, second = verdicts.count("first"), verdicts.count("second")
    total = first + second
    tail = sum(comb(total, k) for k in range(min(first, second) + 1))
    # In whole numbers until here: 2.0**total would overflow for long lists.
    p_value = min(1.0, 2 * tail / 2**total)
    return PositionBias(first, second, first / total if total else None, p_value)


def flip_rate(verdicts: Sequence[tuple[Shown, Shown]]) -> float | None:
    """Share of pairs judged in both orders whose verdicts contradict each other.

    Args:
        verdicts: what was said in one order and in the other. The same place twice is a flip: the answers
            had changed their places. A tie contradicts nothing, but the pair counts.
    """
    if not verdicts:
        return None
    return sum(one == other and one != "tie" for one, other in verdicts) / len(verdicts)
