"""Observations of a trace as its reader sees them: in the order of a tree, and summed up."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from pydantic import ValidationError

from gateway.trace_view.schemas import Logprobs, Score, Span, Tokens

Row = dict[str, Any]
DIGEST = "@sha256:"
"""In the exact name of a model that answered with an adapter, `base:adapter@sha256:1a2b3c4d5e6f`."""
MODELS, TOOLS = {"GENERATION", "EMBEDDING"}, {"TOOL", "RETRIEVER"}


def ordered(rows: Sequence[Row]) -> list[tuple[Row, int]]:
    """(observation, depth): the oldest first, each before those inside it.

    One whose parent is missing stands at the top. Observations that name each other as parents, which a
    client can send, are shown at the top too instead of not at all.
    """
    rows = sorted(rows, key=lambda row: (moment(row["startTime"]), row["id"]))
    known = {row["id"] for row in rows}
    inside: dict[str | None, list[Row]] = {}
    for row in rows:
        parent = row.get("parentObservationId")
        inside.setdefault(parent if parent in known and parent != row["id"] else None, []).append(row)
    found: list[tuple[Row, int]] = []
    placed: set[str] = set()
    # A stack and no recursion: a trace may be nested deeper than Python's own.
    tops = inside.get(None, [])
    for top in [*tops, *rows]:
        stack = [(top, 0)]
        while stack:
            row, depth = stack.pop()
            if row["id"] in placed:
                continue
            placed.add(row["id"])
            found.append((row, depth))
            stack += [(child, depth + 1) for child in reversed(inside.get(row["id"], []))]
    return found


def spans(rows: Sequence[Row], began: datetime) -> list[Span]:
    return [_span(row, depth, began) for row, depth in ordered(rows)]


def _span(row: Row, depth: int, began: datetime) -> Span:
    started, model = moment(row["startTime"]), row.get("model")
    return Span(
        id=row["id"],
        parent=row.get("parentObservationId"),
        depth=depth,
        name=row.get("name"),
        kind=row.get("type") or "SPAN",
        started_at=started,
        offset_ms=(started - began).total_seconds() * 1000,
        ms=milliseconds(row),
        first_ms=_after(started, row.get("completionStartTime")),
        level=row.get("level") or "DEFAULT",
        status=row.get("statusMessage"),
        model=model,
        adapter=adapter_of(model),
        tokens=tokens([row]) if row.get("usageDetails") else None,
        cost=cost([row]),
    )


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


def milliseconds(row: Row) -> float | None:
    return _after(moment(row["startTime"]), row.get("endTime"))


def _after(started: datetime, text: str | None) -> float | None:
    return (moment(text) - started).total_seconds() * 1000 if text else None


def adapter_of(model: str | None) -> str | None:
    """`adapter@sha256:...` of an exact name; other names say nothing of an adapter."""
    return model.partition(":")[2] or None if model and DIGEST in model else None


def tokens(rows: Iterable[Row]) -> Tokens:
    """The sum over observations; a total that is not given is input and output."""
    found = Tokens()
    for row in rows:
        usage = row.get("usageDetails") or {}
        read, written = _count(usage, "input"), _count(usage, "output")
        found.input += read
        found.output += written
        found.total += _count(usage, "total") or read + written
    return found


def cost(rows: Iterable[Row]) -> float | None:
    """The sum over observations; None where none of them says what it cost."""
    said = [row["totalCost"] for row in rows if isinstance(row.get("totalCost"), int | float)]
    return float(sum(said)) if said else None


def logprobs(value: Any) -> Logprobs | None:
    """What a generation's metadata has under that name; None for what is something else."""
    read = Logprobs.model_validate_json if isinstance(value, str) else Logprobs.model_validate
    try:
        return read(value)
    except ValidationError:
        return None


def _count(usage: Row, name: str) -> int:
    value = usage.get(name)
    return int(value) if isinstance(value, int | float) else 0


def busy(rows: Iterable[Row], kinds: set[str]) -> float:
    """Milliseconds in which at least one observation of these kinds ran: what runs at once counts once."""
    parts = sorted(
        (moment(row["startTime"]), moment(row["endTime"]))
        for row in rows
        if row.get("type") in kinds and row.get("endTime")
    )
    total, until = 0.0, None
    for start, end in parts:
        begin = start if until is None else max(start, until)
        if end > begin:
            total += (end - begin).total_seconds() * 1000
            until = end
    return total


def score(row: Row) -> Score:
    subject = row.get("subject") or {}
    return Score(
        id=row["id"],
        name=row["name"],
        kind=row.get("dataType") or "NUMERIC",
        value=row["value"],
        comment=row.get("comment"),
        span=subject.get("id") if subject.get("kind") == "observation" else None,
        at=moment(row["timestamp"]),
    )


def trace_of(row: Row) -> str | None:
    """The trace that a score is about."""
    subject = row.get("subject") or {}
    found = subject.get("traceId") if subject.get("kind") == "observation" else None
    return found or (subject.get("id") if subject.get("kind") == "trace" else None)
