"""What the first rows of a file would be: prepared by steps, as rows of a kind, with their tokens."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rlhf.data.build import Plan, counter_of, kind_planned, refuse_misspelt
from rlhf.data.check import CONTENT
from rlhf.data.read import columns_of, row_from
from rlhf.data.step import SideStep
from rlhf.data.steps import Preparation
from rlhf.data.texts import texts_of
from rlhf.records import BadRow
from rlhf.shapes import AnyRow

READ = 200
"""Rows of the file."""
EXAMPLES = 5
"""Reasons that are told."""


def preview(file: Path, name: str, plan: Plan, shown: int) -> dict[str, Any]:
    """Kind, counts, what each step did, tokens, reasons and examples. `name` is what errors call the file.

    Raises:
        DatasetError: it cannot be opened, or a step makes no sense for it.
    """
    kind = kind_planned([file], plan)
    tokens = counter_of(kind.name, plan.base)
    preparation = Preparation(plan.steps, tokens)
    bad: list[BadRow] = []
    rows: list[AnyRow] = []
    read = 0
    for line, columns in columns_of(file, bad, None if plan.steps else kind):
        if read == READ:
            break
        read += 1
        try:
            rows += [row_from(one, kind) for one in preparation(columns)]
        except ValueError as error:
            bad.append(BadRow(name, line, str(error)))
    refuse_misspelt([file], preparation)
    sizes = [sum(map(tokens.count, texts_of(row))) for row in rows]
    return {
        "kind": kind.name,
        "read": read,
        "rows": len(rows),
        "steps": preparation.report(),
        "later": [step.NAME for step in plan.steps if isinstance(step, SideStep)],
        "tokens": {
            "by": tokens.by,
            "total": sum(sizes),
            "mean": round(sum(sizes) / len(sizes), 1) if sizes else 0.0,
            "longest": max(sizes, default=0),
        },
        "unreadable": [str(row).replace(str(file), name) for row in bad[:EXAMPLES]],
        "examples": [_content(row) for row in rows[:shown]],
    }


def _content(row: AnyRow) -> dict[str, Any]:
    plain = row.plain()
    return {column: plain[column] for column in CONTENT if plain.get(column) is not None}
