"""What users think of answers: kept by the gateway, and sent along as scores of the answer's trace."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

from gateway.conversations.store import Message
from gateway.db.database import Database, unbroken
from gateway.errors import Conflict, NotFound
from gateway.feedback import store
from gateway.feedback.schemas import MARKS, FeedbackIn
from gateway.feedback.store import Feedback
from gateway.policy import Caller
from graphs.tracing import Tracing

SPAN_DIGITS = 16
TOGETHER = 100
"""Rows that are read at once when scores are caught up on."""


class Feedbacks:
    def __init__(self, database: Database, tracing: Tracing | None) -> None:
        self._database = database
        self._tracing = tracing
        self._spooling = asyncio.Lock()

    async def give(self, caller: Caller, given: FeedbackIn) -> Feedback:
        """Keeps it, over what the same user said before. Raises NotFound, Conflict."""
        kept = await self._keep(caller, given)
        await self.spool()
        return kept

    async def spool(self) -> None:
        """Writes the scores of all feedback that is not on its way yet: what was given just now, and what a
        crash or a full disk left behind. Scores have ids, so that one that is sent twice is there once."""
        if self._tracing is None:
            return
        async with self._spooling:
            while rows := await self._unspooled():
                for kept, message in rows:
                    if not await asyncio.to_thread(self._tracing.score, scores(kept, message)):
                        return
                    await self._mark(kept)

    @property
    def dropped(self) -> int:
        """Batches of spans and scores that were lost for want of room, since the start."""
        return self._tracing.dropped if self._tracing else 0

    @unbroken
    async def _unspooled(self) -> list[tuple[Feedback, Message]]:
        async with self._database.read() as session:
            return await store.unspooled(session, TOGETHER)

    @unbroken
    async def _mark(self, kept: Feedback) -> None:
        async with self._database.write() as session:
            await store.mark_spooled(session, kept, datetime.now(UTC))

    @unbroken
    async def _keep(self, caller: Caller, given: FeedbackIn) -> Feedback:
        now = datetime.now(UTC)
        async with self._database.write() as session:
            found = await store.answer(session, caller.user_id, given.message_id)
            # The same words for what is not there and what is not theirs.
            if found is None or caller.project_id not in (None, found[1].project_id):
                raise NotFound(f"No answer {given.message_id!r}.", param="message_id")
            message = found[0]
            if message.state == "running":
                raise Conflict("The answer is still running.")
            kept = await store.find(session, caller.user_id, message.id)
            if kept is None:
                kept = Feedback(message_id=message.id, user_id=caller.user_id)
                session.add(kept)
            for name in MARKS:
                if (value := getattr(given, name)) is not None:
                    setattr(kept, name, value)
            kept.updated_at = now
            # In the same commit: whatever happens next, the sink will hear of it. Without one nobody waits.
            kept.spooled_at = None if self._tracing else now
            await session.flush()
        return kept

    @unbroken
    async def of(self, caller: Caller, conversation_id: str) -> list[Feedback]:
        """The caller's own in a conversation."""
        async with self._database.read() as session:
            return await store.of_conversation(session, caller.user_id, caller.project_id, conversation_id)


def scores(kept: Feedback, message: Message) -> list[dict[str, Any]]:
    """As Langfuse has scores. Their ids hang on the feedback's: a change of mind replaces them."""
    about: dict[str, Any] = {"traceId": message.trace_id, "metadata": {"message_id": message.id}}
    # An answer that was not traced has a name of ours instead of a span.
    if message.generation_id and len(message.generation_id) == SPAN_DIGITS:
        about["observationId"] = message.generation_id

    def score(name: str, kind: str, value: Any) -> dict[str, Any]:
        return {**about, "id": f"{kept.id}-{name}", "name": name, "dataType": kind, "value": value}

    found = []
    if kept.thumb:
        found.append(score("thumbs", "BOOLEAN", int(kept.thumb == "up")))
    if kept.stars:
        found.append(score("stars", "NUMERIC", kept.stars))
    if kept.comment:
        found.append(score("comment", "TEXT", kept.comment))
    if kept.correction:
        found.append(score("correction", "CORRECTION", kept.correction))
    return found
