"""Judgements that were pulled, as scores in the trace store; the pull does not fail where that is away."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from annotation.record import Record
    from annotation.traces import Traces


def bring_scores(record: Record, store: Callable[[], Traces]) -> None:
    """Says how many scores were written, or why they have to wait for the next pull."""
    from annotation.errors import TracesError
    from annotation.scores import bring

    try:
        if count := bring(record, store):
            print(f"Scores in the trace store: {count} new, changed or taken back", flush=True)
    except TracesError as error:
        print(f"Scores wait for the next pull: {error}", flush=True)
