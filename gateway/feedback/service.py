"""What users think of answers: kept by the gateway, and sent along as scores of the answer's trace."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from gateway.conversations.store import Message
from gateway.db.database import Database, unbroken
from gateway.errors import Conflict, NotFound
from gateway.feedback import store
from gateway.feedback.store import MARKS, Feedback
from gateway.policy import Caller
from gateway.scores.service import ScoreOutbox, about


class Feedbacks:
    def __init__(self, database: Database, outbox: ScoreOutbox) -> None:
        self._database = database
        self._outbox = outbox

    async def give(self, caller: Caller, message_id: str, said: dict[str, Any]) -> Feedback:
        """Keeps marks over what the same user said before; None takes one back. Raises NotFound, Conflict."""
        kept = await self._keep(caller, message_id, said)
        await self._outbox.spool()
        return kept

    @unbroken
    async def _keep(self, caller: Caller, message_id: str, said: dict[str, Any]) -> Feedback:
        async with self._database.write() as session:
            message = await own_answer(session, caller, message_id)
            kept = await store.find(session, caller.user_id, message.id)
            if kept is None:
                kept = Feedback(message_id=message.id, user_id=caller.user_id)
                session.add(kept)
            taken_back = [name for name in MARKS if getattr(kept, name) and name in said and not said[name]]
            for name, value in said.items():
                setattr(kept, name, value)
            kept.updated_at = datetime.now(UTC)
            await session.flush()
            gone = [score_id(kept, name) for name in taken_back]
            self._outbox.note(session, scores(kept, message), gone)
        return kept

    @unbroken
    async def of(self, caller: Caller, conversation_id: str) -> list[Feedback]:
        """The caller's own in a conversation."""
        async with self._database.read() as session:
            return await store.of_conversation(session, caller.user_id, caller.project_id, conversation_id)


async def own_answer(session: AsyncSession, caller: Caller, message_id: str) -> Message:
    """An answer in a conversation of the caller's. Raises NotFound, or Conflict while it is running."""
    found = await store.answer(session, caller.user_id, message_id)
    # The same words for what is not there and what is not theirs.
    if found is None or caller.project_id not in (None, found[1].project_id):
        raise NotFound(f"No answer {message_id!r}.", param="message_id")
    if found[0].state == "running":
        raise Conflict("The answer is still running. Wait for its end, or stop it.")
    return found[0]


def scores(kept: Feedback, message: Message) -> list[dict[str, Any]]:
    """As Langfuse has scores. Their ids hang on the feedback's: a change of mind replaces them."""
    said: dict[str, tuple[str, Any]] = {
        "thumb": ("BOOLEAN", int(kept.thumb == "up")),
        "stars": ("NUMERIC", kept.stars),
        "comment": ("TEXT", kept.comment),
        "correction": ("CORRECTION", kept.correction),
    }
    whose = {**about(message.trace_id, message.generation_id), "metadata": {"message_id": message.id}}
    return [
        {**whose, "id": score_id(kept, name), "name": SCORES[name], "dataType": kind, "value": value}
        for name, (kind, value) in said.items()
        if getattr(kept, name)
    ]


def score_id(kept: Feedback, name: str) -> str:
    return f"{kept.id}-{SCORES[name]}"


SCORES = {name: name for name in MARKS} | {"thumb": "thumbs"}
"""Names of the scores, by the marks that they are made of."""
