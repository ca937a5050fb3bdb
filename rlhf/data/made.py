"""Rows that were made from others: where each comes from, and which are kept."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from rlhf.data.check import check_rows
from rlhf.data.near import near_pairs, prompt_words
from rlhf.data.read import Placed
from rlhf.data.texts import asked, named
from rlhf.records import Made, PreferenceRow
from rlhf.shapes import AnyRow, KtoRow, SftRow

POOR = ("control or replacement", "wrongly decoded", "template markers", "repeats")
"""How findings begin, or end, that a row which nobody wrote is not kept with."""


def derived(
    row: AnyRow, step: str, number: int, by: str, changed: dict[str, object], weight: float
) -> AnyRow:
    """A row made from another one: with a name of its own, and how much it counts where rows are weighed."""
    named_by = "pair_id" if isinstance(row, PreferenceRow) else "row_id"
    changed = {**changed, named_by: f"{named(row)}-{step}-{number}"}
    changed["made"] = Made(step=step, of=named(row), by=by)
    if isinstance(row, PreferenceRow | SftRow | KtoRow):
        changed["weight"] = row.weight * weight
    return type(row).model_validate({**row.model_dump(), **changed})


def without_poor(rows: Sequence[AnyRow], counts: Counter[str]) -> list[AnyRow]:
    """Those that the rules of datasets find nothing wrong with."""
    kept = []
    for row in rows:
        report = check_rows([Placed("made", 1, row)])
        rules = [finding.rule for finding in report.findings]
        if report.useless or any(word in rule for rule in rules for word in POOR):
            counts["poor"] += 1
        else:
            kept.append(row)
    return kept


def without_near(
    made: Sequence[AnyRow], known: Sequence[AnyRow], counts: Counter[str], called: str
) -> list[AnyRow]:
    """Those of `made` that ask nothing that is nearly what a row of `known` asks."""
    rows, border = [*known, *made], len(known)
    words = [prompt_words(asked(row)) for row in rows]
    near = {b for a, b in near_pairs(words) if a < border <= b}
    counts[called] += len(near)
    return [row for at, row in enumerate(rows) if at >= border and at not in near]


def unlike_each_other(made: Sequence[AnyRow], counts: Counter[str]) -> list[AnyRow]:
    """One of those that ask nearly the same."""
    near = {b for _, b in near_pairs([prompt_words(asked(row)) for row in made])}
    counts["near another one"] += len(near)
    return [row for at, row in enumerate(made) if at not in near]
