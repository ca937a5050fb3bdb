"""Answers out of traces: what answered, how long it took, which tools failed, what people said of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gateway.quality.measures import Answer
from gateway.trace_view.source import ROOT, Row, TraceSource, at, equal
from gateway.trace_view.tree import trace_of

PAGES = 20
"""Most pages of 1,000 observations, and of 100 scores of a name, that one look reads: the newest."""
THUMBS, PREFERENCE = "thumbs", "preference"


async def answers_since(source: TraceSource, since: str) -> tuple[list[Answer], bool]:
    """Answers from a time on, and whether there are more than were read.

    Raises NotFound (no trace store), UpstreamFailed.
    """
    begun = at("startTime", ">=", since)
    roots, cut = await _all(source, [ROOT, begun], "core,basic,io,metrics")
    made, more = await _all(source, [equal("type", "GENERATION"), begun], "core,model")
    used, others = await _all(source, [equal("type", "TOOL"), begun], "core,basic")
    thumbs, preferred = await _scores(source, THUMBS, since), await _scores(source, PREFERENCE, since)
    models: dict[str, str] = {}
    for row in made:
        # The newest comes first: the one that gave the answer.
        models.setdefault(row["traceId"], str(row.get("model") or ""))
    tools: dict[str, list[str]] = {}
    for row in used:
        tools.setdefault(row["traceId"], []).append(row["level"])
    found = [
        _answer(row, models[row["traceId"]], tools.get(row["traceId"], []), thumbs, preferred)
        for row in roots
        if row["traceId"] in models
    ]
    return found, cut or more or others


def _answer(
    root: Row, model: str, levels: Sequence[str], thumbs: Mapping[str, Any], preferred: Mapping[str, Any]
) -> Answer:
    trace = root["traceId"]
    said = preferred.get(trace)
    return Answer(
        model=model,
        at=root["startTime"],
        text=_text(root.get("output")),
        seconds=root.get("latency"),
        tools=len(levels),
        failed_tools=levels.count("ERROR"),
        thumb=bool(thumbs[trace]) if trace in thumbs else None,
        judged=said == "chosen" if said in ("chosen", "rejected") else None,
    )


def _text(output: Any) -> str:
    """Of an answer: a text, or a message."""
    if isinstance(output, dict):
        output = output.get("content")
    return output.strip().strip('"') if isinstance(output, str) else ""


async def _all(source: TraceSource, conditions: Sequence[Row], fields: str) -> tuple[list[Row], bool]:
    rows, cursor = await source.observations(conditions, fields)
    for _ in range(PAGES - 1):
        if cursor is None:
            break
        more, cursor = await source.observations(conditions, fields, cursor=cursor)
        rows += more
    return rows, cursor is not None


async def _scores(source: TraceSource, name: str, since: str) -> dict[str, Any]:
    """The newest value by trace."""
    found: dict[str, Any] = {}
    cursor = None
    for _ in range(PAGES):
        rows, cursor = await source.scores({"name": name, "fromTimestamp": since}, cursor=cursor)
        for row in rows:
            if trace := trace_of(row):
                found.setdefault(trace, row.get("value"))
        if cursor is None:
            break
    return found
