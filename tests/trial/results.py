"""Whether the result of a query is the right one, under other column names, orders and roundings."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import permutations

from tests.trial.questions import Compare

Row = Sequence[object]
ROUNDING = 0.005 + 1e-9
"""A figure may have been rounded to two decimals."""


def same_result(right: Sequence[Row], other: Sequence[Row], compare: Compare) -> bool:
    """Whether `other` has the compared columns of `right`, in some columns of its own, row for row."""
    wanted = [[row[column - 1] for column in compare.columns] for row in right]
    if len(wanted) != len(other) or not wanted:
        return False
    check = _same_order if compare.kind == "rows" else _same_rows
    choices = permutations(range(len(other[0])), len(compare.columns))
    return any(check(wanted, [[row[column] for column in choice] for row in other]) for choice in choices)


def same_cell(right: object, other: object) -> bool:
    """Numbers up to rounding, text as whole words of the other cell (`Holy` in `Helena Holy`)."""
    number = _number(right)
    if number is not None:
        found = _number(other)
        if found is None:
            return False
        whole = float(number).is_integer() and isinstance(right, int)
        return found == number if whole else abs(found - number) <= ROUNDING
    if not isinstance(right, str) or not isinstance(other, str):
        return right == other
    return re.search(rf"(?<!\w){re.escape(right.strip())}(?!\w)", other) is not None


def _same_rows(right: Sequence[Row], other: Sequence[Row]) -> bool:
    left = list(other)
    for row in right:
        match = next((i for i, candidate in enumerate(left) if _same_row(row, candidate)), None)
        if match is None:
            return False
        del left[match]
    return True


def _same_order(right: Sequence[Row], other: Sequence[Row]) -> bool:
    """The same rows, and in the same order as far as figures tell: rows with one figure may change places."""
    if not _same_rows(right, other):
        return False
    numeric = [i for i, cell in enumerate(right[0]) if _number(cell) is not None] or range(len(right[0]))
    return all(same_cell(a[i], b[i]) for a, b in zip(right, other, strict=True) for i in numeric)


def _same_row(right: Row, other: Row) -> bool:
    return all(same_cell(a, b) for a, b in zip(right, other, strict=True))


def _number(cell: object) -> float | None:
    """`cell` as a number; decimals may arrive as text. A text that only looks like a number counts as one."""
    if isinstance(cell, bool) or not isinstance(cell, int | float | str):
        return None
    try:
        return float(cell)
    except ValueError:
        return None
