"""Reads traces where they lie: the embedded store or a Langfuse server, by Langfuse's public API."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import httpx2

from gateway.errors import BadRequest, NotFound, UpstreamFailed
from graphs.spool import Sink

OBSERVATIONS, SCORES = "/api/public/v2/observations", "/api/public/v3/scores"
SECONDS = 15.0
PAGE, PAGES = 1000, 5
"""Observations of a request, and most requests for what belongs together."""
AT_ONCE = 50
"""Traces whose observations are asked for together."""
SCORE_PAGE = 100
"""Langfuse gives no more at once."""

Row = dict[str, Any]


class TraceSource:
    """`sink` is asked for each time: its keys may be made after this gateway has started."""

    def __init__(self, sink: Callable[[], Sink | None], client: httpx2.AsyncClient) -> None:
        self._sink = sink
        self._client = client

    async def observations(
        self,
        conditions: Sequence[Row],
        fields: str,
        limit: int = PAGE,
        cursor: str | None = None,
        whole: str = "",
    ) -> tuple[list[Row], str | None]:
        """A page, the newest first, and the cursor of the next. `whole` names the key of the metadata whose
        value is not cut short.

        Raises NotFound, BadRequest, UpstreamFailed.
        """
        params = {"fields": fields, "limit": str(limit), "filter": json.dumps(list(conditions))}
        if cursor:
            params["cursor"] = cursor
        if whole:
            params["expandMetadata"] = whole
        return await self._page(OBSERVATIONS, params)

    async def of_traces(self, traces: Sequence[str], fields: str, *more: Row) -> list[Row]:
        """All observations of these traces, up to PAGES pages for each AT_ONCE of them."""
        found: list[Row] = []
        for start in range(0, len(traces), AT_ONCE):
            conditions = [any_of("traceId", traces[start : start + AT_ONCE]), *more]
            rows, cursor = await self.observations(conditions, fields)
            found += rows
            for _ in range(PAGES - 1):
                if cursor is None:
                    break
                rows, cursor = await self.observations(conditions, fields, cursor=cursor)
                found += rows
        return found

    async def scores(
        self, params: Mapping[str, str], limit: int = SCORE_PAGE, cursor: str | None = None
    ) -> tuple[list[Row], str | None]:
        """A page, the newest first. Each has its `subject` and its details."""
        asked = {"fields": "details,subject", "limit": str(min(limit, SCORE_PAGE)), **params}
        if cursor:
            asked["cursor"] = cursor
        return await self._page(SCORES, asked)

    async def scores_of(self, traces: Sequence[str]) -> list[Row]:
        found: list[Row] = []
        for start in range(0, len(traces), AT_ONCE):
            params, cursor = {"traceId": ",".join(traces[start : start + AT_ONCE])}, None
            for _ in range(PAGES):
                rows, cursor = await self.scores(params, cursor=cursor)
                found += rows
                if cursor is None:
                    break
        return found

    async def _page(self, path: str, params: Mapping[str, str]) -> tuple[list[Row], str | None]:
        body = await self._get(path, params)
        try:
            rows, meta = body["data"], body.get("meta") or {}
            return list(rows), meta.get("cursor")
        except (KeyError, TypeError, AttributeError) as error:
            raise UpstreamFailed("The trace store answers in a shape that is not Langfuse's.") from error

    async def _get(self, path: str, params: Mapping[str, str]) -> Any:
        sink = await asyncio.to_thread(self._sink)
        if sink is None:
            raise NotFound(
                "This gateway has no trace store; `loopyard up` starts one.", code="no_trace_store"
            )
        try:
            answer = await self._client.get(f"{sink.host}{path}", params=params, headers=sink.headers)
        except httpx2.HTTPError as error:
            raise UpstreamFailed(
                f"The trace store does not answer ({type(error).__name__}). Try again in a moment."
            ) from error
        if answer.status_code == 400:
            raise BadRequest(f"The trace store does not understand this: {answer.text[:200]}")
        if answer.status_code != 200:
            raise UpstreamFailed(f"The trace store answers {answer.status_code}. Try again in a moment.")
        try:
            return answer.json()
        except ValueError as error:
            raise UpstreamFailed("The trace store answers with something that is not JSON.") from error


def any_of(column: str, values: Sequence[str]) -> Row:
    return {"type": "stringOptions", "column": column, "operator": "any of", "value": list(values)}


def equal(column: str, value: str) -> Row:
    return {"type": "string", "column": column, "operator": "=", "value": value}


def contains(column: str, value: str) -> Row:
    return {"type": "string", "column": column, "operator": "contains", "value": value}


def at(column: str, operator: str, value: str) -> Row:
    return {"type": "datetime", "column": column, "operator": operator, "value": value}


ROOT: Row = {"type": "boolean", "column": "isRootObservation", "operator": "=", "value": True}


@asynccontextmanager
async def open_source(sink: Callable[[], Sink | None]) -> AsyncIterator[TraceSource]:
    limits = httpx2.Limits(max_connections=20, max_keepalive_connections=5, keepalive_expiry=30)
    timeout = httpx2.Timeout(SECONDS, connect=3.0)
    # trust_env off: a proxy meant for the internet must not come between two services of one machine.
    async with httpx2.AsyncClient(limits=limits, timeout=timeout, trust_env=False) as client:
        yield TraceSource(sink, client)
