"""The outbox of scores: noted in the commit that makes them, then written to the spool, in order."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from gateway.db.database import Database, unbroken
from gateway.scores import store
from gateway.scores.store import ScoreChange
from graphs.tracing import Tracing

SPAN_DIGITS = 16
TOGETHER = 100
"""Changes that are read at once when scores are caught up on."""
Score = dict[str, Any]


class ScoreOutbox:
    """Scores have ids: one that is sent twice is there once, and a later one takes its place."""

    def __init__(self, database: Database, tracing: Tracing | None) -> None:
        self._database = database
        self._tracing = tracing
        self._spooling = asyncio.Lock()

    def note(self, session: AsyncSession, scores: Sequence[Score], gone: Sequence[str] = ()) -> None:
        """In the commit of the session: whatever happens next, the trace store will hear of it. Where runs
        are not traced nobody waits for it."""
        if self._tracing and (scores or gone):
            session.add(ScoreChange(scores=list(scores), gone=list(gone)))

    async def spool(self) -> int:
        """Writes to the spool what is not there yet: what was noted just now, and what a crash or a full disk
        left behind. How many changes have to wait on."""
        if self._tracing is None:
            return 0
        async with self._spooling:
            while changes := await self._oldest():
                for change in changes:
                    if not await asyncio.to_thread(self._tracing.score, change.scores, change.gone):
                        return await self._waiting()
                    await self._done(change)
        return 0

    @property
    def dropped(self) -> int:
        """Batches of spans and scores that were lost for want of room, since the start."""
        return self._tracing.dropped if self._tracing else 0

    @unbroken
    async def _oldest(self) -> list[ScoreChange]:
        async with self._database.read() as session:
            return await store.oldest(session, TOGETHER)

    @unbroken
    async def _waiting(self) -> int:
        async with self._database.read() as session:
            return await store.waiting(session)

    @unbroken
    async def _done(self, change: ScoreChange) -> None:
        async with self._database.write() as session:
            await session.delete(await session.merge(change))


def about(trace_id: str, generation_id: str | None) -> Score:
    """What a score of an answer is about: the generation, else the whole trace, because an answer that was
    not traced has a name of ours instead of a span."""
    found: Score = {"traceId": trace_id}
    if generation_id and len(generation_id) == SPAN_DIGITS:
        found["observationId"] = generation_id
    return found
