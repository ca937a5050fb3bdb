"""Rows of thumbs and of answers from preferences, split as those are and with the same lineage.

What was held out stays held out: an adapter that was taught answers and then pairs was not shown what it is
examined on. Every row keeps session, user, time, source, weight and the trace of its answer; that of a
corrected answer is the trace that it corrects.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

from rlhf.data.build import counter_of, token_facts, without_duplicates
from rlhf.data.check import Report, check_rows
from rlhf.data.folder import verify_split, write_dataset
from rlhf.data.kinds import kind_of
from rlhf.data.read import Placed
from rlhf.errors import DatasetError
from rlhf.records import Message, PreferenceRow, Trace
from rlhf.shapes import Answered, KtoRow, SftRow

Target = Literal["kto", "sft"]


def thumbs(row: PreferenceRow) -> Iterator[KtoRow]:
    """The answer that was preferred with a thumb up, the other one with a thumb down."""
    yield KtoRow(completion=row.chosen, label=True, **_shared(row, row.chosen_trace or row.rejected_trace))
    yield KtoRow(completion=row.rejected, label=False, **_shared(row, row.rejected_trace or row.chosen_trace))


def answers(row: PreferenceRow) -> Iterator[SftRow]:
    """The answer that was preferred, or that somebody wrote as a correction."""
    yield SftRow(completion=row.chosen, **_shared(row, row.chosen_trace or row.rejected_trace))


DERIVED: dict[Target, Callable[[PreferenceRow], Iterator[Answered]]] = {"kto": thumbs, "sft": answers}


def derive(
    folder: Path, to: Target, out: Path, sources: Collection[str] = ()
) -> tuple[dict[str, Any], Report]:
    """Make a dataset of another kind from one of preferences; gives its manifest and what was found.

    Args:
        sources: preferences of these alone (`thumbs`, `correction`, …); all where none is named.

    Raises:
        Leak: the preferences leak.
        DatasetError: they are no whole dataset of preferences, none is of these sources, or `out` cannot be
            written.
    """
    dataset = verify_split(folder)
    if dataset.manifest["kind"] != "preference":
        raise DatasetError(
            f"{folder} holds {dataset.manifest['kind']} rows; others are derived from preferences only"
        )
    sides = [
        [made for row in side if not sources or row.source in sources for made in DERIVED[to](row)]
        for side in (dataset.train, dataset.held_out)
    ]
    if not sides[0]:
        raise DatasetError(f"{folder} has no preference to train on from {', '.join(sources)}")
    report = check_rows([Placed(str(out), at, row) for at, row in enumerate((*sides[0], *sides[1]), 1)])
    train, held_out = (without_duplicates(side) for side in sides)
    facts = {
        "kind": kind_of(to).name,
        "parents": [{"dataset": dataset.digest, "rows": len(dataset.train) + len(dataset.held_out)}],
        "transform": {
            **dataset.manifest["transform"],
            "derived": {"from": dataset.digest, "to": to, "sources": sorted(sources)},
        },
        "left_out": {"errors": 0, "duplicates": _count(sides) - len(train) - len(held_out)},
        "findings": {f"{finding.level}: {finding.rule}": finding.count for finding in report.findings},
        "redacted": dataset.manifest["redacted"],
        "tokens": token_facts(train, held_out, counter_of(kind_of(to).name)),
    }
    return write_dataset(out, train, held_out, facts), report


def _shared(row: PreferenceRow, trace: Trace | None) -> dict[str, Any]:
    prompt: list[Message] = row.prompt
    lineage = {"session": row.session, "user": row.user, "at": row.at, "trace": trace, "made": row.made}
    return {"prompt": prompt, "tools": row.tools, "source": row.source, "weight": row.weight, **lineage}


def _count(sides: Sequence[Sequence[object]]) -> int:
    return sum(map(len, sides))
