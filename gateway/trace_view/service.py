"""The console's view of traces: which ones a caller may see, and what is shown of them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from gateway.db.database import Database, unbroken
from gateway.errors import NotFound
from gateway.policy import Caller, ProjectFacts, Scope, may_enter
from gateway.trace_view import store, tree
from gateway.trace_view.schemas import Score, SpanDetail, Trace, TracePage, TraceQuery, TraceRow
from gateway.trace_view.source import ROOT, Row, TraceSource, any_of, at, contains, equal
from gateway.trace_view.store import PREVIEW, Owner

LISTED = "core,basic,time,model,usage"
SCANS = 20
"""Pages of the store that one request looks through for traces that fit."""
CUT = 200_000
"""Characters of an input or an output that are shown."""
MOST_SPANS = 2000
LOGPROBS = "logprobs"
"""Key of a generation's metadata, as `graphs.tracing` writes it."""


class TraceView:
    def __init__(self, database: Database, source: TraceSource) -> None:
        self._database = database
        self._source = source

    async def page(self, caller: Caller, wanted: TraceQuery, project_id: str | None) -> TracePage:
        """Traces that the caller may see, the newest first (the last scored first, where scores are asked
        for). Raises NotFound, BadRequest, UpstreamFailed."""
        rows: list[TraceRow] = []
        cursor = wanted.cursor
        for _ in range(SCANS):
            roots, cursor = await self._candidates(wanted, cursor)
            rows += await self._rows(caller, wanted, project_id, roots)
            if cursor is None or len(rows) >= wanted.limit:
                break
        return TracePage(items=rows, cursor=cursor)

    async def _candidates(self, wanted: TraceQuery, cursor: str | None) -> tuple[list[Row], str | None]:
        """Roots of traces, found by whatever of the question the store answers best."""
        if wanted.thumb or wanted.scored:
            params = {"name": "thumbs", "dataType": "BOOLEAN"} if wanted.thumb else {}
            if wanted.thumb:
                params["value"] = "true" if wanted.thumb == "up" else "false"
            scores, cursor = await self._source.scores(params, wanted.limit, cursor)
            found = [trace for score in scores if (trace := tree.trace_of(score))]
            return await self._roots(found), cursor
        conditions = [equal("userId", wanted.user)] if wanted.user else []
        if wanted.session:
            conditions.append(equal("sessionId", wanted.session))
        if wanted.since:
            conditions.append(at("startTime", ">=", _iso(wanted.since)))
        if wanted.model or wanted.level:
            inner = [contains("model", wanted.model)] if wanted.model else [equal("level", "ERROR")]
            rows, cursor = await self._source.observations(conditions + inner, "core", wanted.limit, cursor)
            return await self._roots([row["traceId"] for row in rows]), cursor
        if wanted.name:
            conditions.append(equal("name", wanted.name))
        if wanted.before:
            conditions.append(at("startTime", "<", _iso(wanted.before)))
        return await self._source.observations([*conditions, ROOT], LISTED, wanted.limit, cursor)

    async def _roots(self, traces: Sequence[str]) -> list[Row]:
        """In the order of the traces, each once."""
        traces = list(dict.fromkeys(traces))
        if not traces:
            return []
        roots = {row["traceId"]: row for row in await self._source.of_traces(traces, LISTED, ROOT)}
        return [roots[trace] for trace in traces if trace in roots]

    async def _rows(
        self, caller: Caller, wanted: TraceQuery, project_id: str | None, roots: Sequence[Row]
    ) -> list[TraceRow]:
        traces = list(dict.fromkeys(row["traceId"] for row in roots))
        owners, saying = await self._known(traces, wanted.text)
        first: dict[str, Row] = {}
        for root in roots:
            owner = owners.get(root["traceId"])
            fits = project_id is None or (owner is not None and owner.project_id == project_id)
            said = not wanted.text or owner is None or root["traceId"] in saying
            if fits and said and may_see(caller, owner) and _fits(wanted, root):
                first.setdefault(root["traceId"], root)
        if not first:
            return []
        kept = list(first)
        observations, scores, texts = await asyncio.gather(
            self._source.of_traces(kept, LISTED),
            self._source.scores_of(kept),
            self._texts([trace for trace in kept if trace not in owners]),
        )
        by_trace, scored = _grouped(observations), _scored(scores)
        rows = []
        for trace, root in first.items():
            question, answer = texts.get(trace, ("", ""))
            if (
                trace not in owners
                and wanted.text
                and wanted.text.lower() not in f"{question}{answer}".lower()
            ):
                continue
            row = _row(root, by_trace.get(trace, [root]), owners.get(trace), scored.get(trace, []))
            if trace not in owners:
                row.question, row.answer = question[:PREVIEW], answer[:PREVIEW]
            if _fits_whole(wanted, row):
                rows.append(row)
        return rows

    async def _texts(self, traces: Sequence[str]) -> dict[str, tuple[str, str]]:
        """What went in and out of traces that no chat of this gateway made."""
        if not traces:
            return {}
        roots = await self._source.of_traces(traces, "core,io", ROOT)
        return {row["traceId"]: (_text(row.get("input")), _text(row.get("output"))) for row in roots}

    @unbroken
    async def _known(self, traces: Sequence[str], text: str | None) -> tuple[dict[str, Owner], set[str]]:
        async with self._database.read() as session:
            owners = await store.owners(session, traces)
            return owners, await store.saying(session, traces, text) if text else set()

    async def get(self, caller: Caller, trace_id: str) -> Trace:
        """Raises NotFound, with the same words for what is not there and what is not theirs."""
        owner = await self._owner(caller, trace_id)
        observations, scores = await asyncio.gather(
            self._source.of_traces([trace_id], LISTED), self._source.scores_of([trace_id])
        )
        if not observations:
            raise _missing(trace_id)
        root = next((row for row in observations if row.get("isRootObservation")), observations[-1])
        row = _row(root, observations, owner, [tree.score(score) for score in scores])
        if owner is None:
            question, answer = (await self._texts([trace_id])).get(trace_id, ("", ""))
            row.question, row.answer = question[:PREVIEW], answer[:PREVIEW]
        began = min(tree.moment(one["startTime"]) for one in observations)
        shown = tree.spans(observations, began)
        return Trace(
            **row.model_dump(),
            tree=shown[:MOST_SPANS],
            truncated=len(shown) > MOST_SPANS,
        )

    async def span(self, caller: Caller, trace_id: str, span_id: str) -> SpanDetail:
        """Raises NotFound."""
        await self._owner(caller, trace_id)
        conditions = [any_of("traceId", [trace_id]), equal("id", span_id)]
        rows, _ = await self._source.observations(conditions, "core,io,metadata,model", 1, whole=LOGPROBS)
        if not rows:
            raise NotFound(f"No span {span_id!r} in this trace.")
        given, came = rows[0].get("input"), rows[0].get("output")
        metadata = _named(rows[0].get("metadata"))
        logprobs = tree.logprobs(metadata.get(LOGPROBS))
        if logprobs:
            del metadata[LOGPROBS]
        return SpanDetail(
            id=span_id,
            input=_value(given),
            output=_value(came),
            metadata=metadata,
            parameters=_named(rows[0].get("modelParameters")),
            logprobs=logprobs,
            cut=any(isinstance(text, str) and len(text) > CUT for text in (given, came)),
        )

    async def _owner(self, caller: Caller, trace_id: str) -> Owner | None:
        owners, _ = await self._known([trace_id], None)
        owner = owners.get(trace_id)
        if not may_see(caller, owner):
            raise _missing(trace_id)
        return owner


def may_see(caller: Caller, owner: Owner | None) -> bool:
    """One's own chats; with the scope to manage, those of everybody in the projects that one may enter. What
    no chat of this gateway made has no project: only an admin whose key is bound to none sees it."""
    if owner is None:
        return caller.project_id is None and caller.has(Scope.ADMIN)
    if not may_enter(caller, ProjectFacts(owner.project_id, owner.account_id)):
        return False
    return owner.user_id == caller.user_id or caller.has(Scope.MANAGE)


def _missing(trace_id: str) -> NotFound:
    return NotFound(f"No trace {trace_id!r}. A trace arrives some seconds after its answer.")


def _fits(wanted: TraceQuery, root: Row) -> bool:
    """What the root alone can tell; asked again for the ways of finding that did not ask the store for it."""
    started = tree.moment(root["startTime"])
    same = ((wanted.user, "userId"), (wanted.session, "sessionId"), (wanted.name, "name"))
    return (
        all(value is None or root.get(column) == value for value, column in same)
        and (wanted.since is None or started >= _aware(wanted.since))
        and (wanted.before is None or started < _aware(wanted.before))
    )


def _fits_whole(wanted: TraceQuery, row: TraceRow) -> bool:
    model = (wanted.model or "").lower()
    return (not model or any(model in name.lower() for name in row.models)) and (
        wanted.level is None or row.errors > 0
    )


def _row(root: Row, rows: Sequence[Row], owner: Owner | None, scores: Sequence[Score]) -> TraceRow:
    models = list(dict.fromkeys(row["model"] for row in reversed(rows) if row.get("model")))
    began = min(tree.moment(row["startTime"]) for row in rows)
    ends = [tree.moment(row["endTime"]) for row in rows if row.get("endTime")]
    return TraceRow(
        id=root["traceId"],
        name=root.get("name"),
        project=owner.project if owner else None,
        user=root.get("userId"),
        session=root.get("sessionId"),
        conversation_id=owner.conversation_id if owner else None,
        message_id=owner.message_id if owner else None,
        started_at=began,
        ms=(max(ends) - began).total_seconds() * 1000 if ends else None,
        model_ms=tree.busy(rows, tree.MODELS),
        tools_ms=tree.busy(rows, tree.TOOLS),
        question=owner.question if owner else "",
        answer=owner.answer if owner else "",
        models=models,
        adapter=next((found for name in models if (found := tree.adapter_of(name))), None),
        tokens=tree.tokens(row for row in rows if row.get("type") in tree.MODELS),
        cost=tree.cost(rows),
        spans=len(rows),
        errors=sum(row.get("level") == "ERROR" for row in rows),
        scores=list(scores),
    )


def _grouped(rows: Sequence[Row]) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(row["traceId"], []).append(row)
    return found


def _scored(rows: Sequence[Row]) -> dict[str, list[Score]]:
    found: dict[str, list[Score]] = {}
    for row in rows:
        if trace := tree.trace_of(row):
            found.setdefault(trace, []).append(tree.score(row))
    return found


def _value(text: Any) -> Any:
    """The JSON that a text is; else the text, up to CUT characters."""
    if not isinstance(text, str):
        return text
    if len(text) > CUT:
        return text[:CUT]
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _text(raw: Any) -> str:
    return raw if isinstance(raw, str) else "" if raw is None else json.dumps(raw, ensure_ascii=False)


def _named(value: Any) -> dict[str, Any]:
    return dict(value) if isinstance(value, Mapping) else {}


def _aware(moment: datetime) -> datetime:
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _iso(moment: datetime) -> str:
    return _aware(moment).astimezone(UTC).isoformat().replace("+00:00", "Z")
