"""The record of what was asked and answered. A question is stored before its run begins."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

from sqlalchemy import ColumnElement, delete, true

from gateway.conversations import store
from gateway.conversations.store import Conversation, Message
from gateway.db.database import Database, unbroken
from gateway.errors import Conflict, NotFound
from gateway.ids import new_id
from gateway.policy import Caller

TITLE = 80
INTERRUPTED: dict[str, Any] = {
    "message": "The gateway was stopped before the answer was complete. Ask again.",
    "code": "interrupted",
    "retryable": True,
    "status": 503,
}


@dataclass(frozen=True, slots=True)
class Turn:
    """A stored question and the answer that is in the making. `history` are (role, text), oldest first."""

    conversation_id: str
    question_id: str
    answer_id: str
    trace_id: str
    history: Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What is stored of a run that ended, in whichever way."""

    state: str
    content: str
    steps: list[dict[str, Any]]
    sources: list[dict[str, Any]]
    usage: dict[str, Any] | None = None
    timings: dict[str, Any] | None = None
    error: dict[str, Any] | None = None
    generation_id: str | None = None
    """The observation, in the trace, of the model call that gave the answer."""


class Conversations:
    def __init__(
        self,
        database: Database,
        erase_runs: Callable[[Collection[str]], Awaitable[None]],
        kept_runs: Callable[[], Awaitable[set[str]]],
    ) -> None:
        """`erase_runs` deletes the steps of answers that stopped early, by the ids of the answers;
        `kept_runs` says which answers have steps.
        """
        self._database, self._erase_runs, self._kept_runs = database, erase_runs, kept_runs

    @unbroken
    async def of(self, caller: Caller, project_id: str) -> list[Conversation]:
        async with self._database.read() as session:
            return await store.of_project(session, project_id, caller.user_id)

    @unbroken
    async def get(
        self, caller: Caller, project_id: str, conversation_id: str
    ) -> tuple[Conversation, list[Message]]:
        """Raises NotFound."""
        async with self._database.read() as session:
            found = await store.find(session, project_id, caller.user_id, conversation_id)
            if found is None:
                raise NotFound(f"No conversation {conversation_id!r} in this project.")
            return found, await store.messages(session, conversation_id)

    @unbroken
    async def delete(self, caller: Caller, project_id: str, conversation_id: str) -> None:
        conversation, _ = await self.get(caller, project_id, conversation_id)
        await self._erase_steps(Conversation.id == conversation_id)
        async with self._database.write() as session:
            await session.delete(await session.merge(conversation))

    @unbroken
    async def forget(self, user: str) -> int:
        """Deletes all conversations of a user; returns how many."""
        theirs = Conversation.user_id == user
        await self._erase_steps(theirs)
        async with self._database.write() as session:
            gone = await session.execute(delete(Conversation).where(theirs))
        return int(getattr(gone, "rowcount", 0))

    async def _erase_steps(self, which: ColumnElement[bool]) -> None:
        """Before the record goes: after a kill in between, it still says what is to be erased."""
        async with self._database.read() as session:
            unfinished = await store.unfinished(session, which)
        await self._erase_runs(unfinished)

    @unbroken
    async def erase_orphans(self) -> int:
        """Deletes steps that no answer can go on with: its conversation was deleted while it ran, or it was
        stored, and a kill came before they went. Returns how many answers they were of.
        """
        runs = await self._kept_runs()
        async with self._database.read() as session:
            orphans = runs.difference(await store.unfinished(session, true()))
        if orphans:
            await self._erase_runs(orphans)
        return len(orphans)

    @unbroken
    async def begin(
        self,
        caller: Caller,
        project_id: str,
        agent: str,
        text: str,
        conversation_id: str | None,
        *,
        trace_id: str | None = None,
        new: str = "",
    ) -> Turn:
        """Stores the question and a running answer. Raises NotFound for an unknown conversation.

        `trace_id` is that of a run that was traced before it is stored; `new` the id of the conversation that
        is made, unless there is one of that id.
        """
        now = datetime.now(UTC)
        async with self._database.write() as session:
            if conversation_id is None:
                title = " ".join(text.split())[:TITLE] or "Conversation"
                free = bool(new) and await session.get(Conversation, new) is None
                conversation = Conversation(
                    id=new if free else new_id(),
                    project_id=project_id,
                    user_id=caller.user_id,
                    title=title,
                    agent=agent,
                )
                session.add(conversation)
                earlier: list[Message] = []
            else:
                found = await store.find(session, project_id, caller.user_id, conversation_id)
                if found is None:
                    raise NotFound(f"No conversation {conversation_id!r} in this project.")
                conversation, earlier = found, await store.messages(session, conversation_id)
            if earlier and earlier[-1].state == "running":
                raise Conflict("An answer of this conversation is still running. Stop it or wait for it.")
            conversation.agent, conversation.updated_at = agent, now
            await session.flush()
            question = _message(conversation.id, "user", text, "complete", agent)
            answer = _message(conversation.id, "assistant", "", "running", agent)
            question.trace_id = trace_id or question.trace_id
            answer.trace_id, answer.generation_id = question.trace_id, new_id()
            session.add_all([question, answer])
        history = _history(earlier)
        return Turn(conversation.id, question.id, answer.id, question.trace_id, history)

    @unbroken
    async def resume(self, caller: Caller, project_id: str, answer_id: str) -> tuple[Turn, str, str]:
        """Makes an answer that did not come to its end run again: the turn, its question and its agent.

        Raises NotFound, or Conflict for an answer that is complete or running.
        """
        async with self._database.write() as session:
            answer = await session.get(Message, answer_id)
            if answer is None or answer.role != "assistant":
                raise NotFound(f"No answer {answer_id!r} in this project.")
            if await store.find(session, project_id, caller.user_id, answer.conversation_id) is None:
                raise NotFound(f"No answer {answer_id!r} in this project.")
            if answer.state in ("complete", "running"):
                raise Conflict(
                    f"The answer is {answer.state}; only one that stopped early can be tried again."
                )
            earlier = [m for m in await store.messages(session, answer.conversation_id) if m.id < answer_id]
            question = next(m for m in reversed(earlier) if m.role == "user")
            answer.state, answer.error, answer.generation_id = "running", None, new_id()
        history = _history([m for m in earlier if m.id < question.id])
        turn = Turn(answer.conversation_id, question.id, answer.id, answer.trace_id, history)
        return turn, question.content, answer.agent

    @unbroken
    async def finish(self, turn: Turn, outcome: Outcome) -> None:
        """Stores how the answer ended. Nothing happens when its conversation was deleted meanwhile."""
        async with self._database.write() as session:
            answer = await session.get(Message, turn.answer_id)
            conversation = await session.get(Conversation, turn.conversation_id)
            if answer is None or conversation is None:
                return
            answer.state, answer.content = outcome.state, outcome.content
            answer.steps, answer.sources = outcome.steps, outcome.sources
            answer.usage, answer.timings, answer.error = outcome.usage, outcome.timings, outcome.error
            answer.generation_id = outcome.generation_id or answer.generation_id
            conversation.updated_at = datetime.now(UTC)
            await session.flush()
            rows = await store.messages(session, turn.conversation_id)
            conversation.fingerprint = fingerprint((m.role, m.content) for m in rows)

    @unbroken
    async def recognise(
        self, caller: Caller, project_id: str, agent: str, history: Sequence[tuple[str, str]]
    ) -> str | None:
        """The conversation whose messages these are, for clients that send the history with each question."""
        if not history:
            return None
        async with self._database.read() as session:
            found = await store.by_fingerprint(
                session, project_id, caller.user_id, agent, fingerprint(history)
            )
        return found.id if found else None

    @unbroken
    async def interrupt_running(self) -> int:
        """At start: answers that the last process left running can be tried again."""
        async with self._database.write() as session:
            return await store.interrupt_running(session, INTERRUPTED)


def fingerprint(messages: Iterable[tuple[str, str]]) -> str:
    """A hash of (role, text) pairs that does not see white space at the ends."""
    flat = json.dumps([[role, text.strip()] for role, text in messages], ensure_ascii=False)
    return hashlib.sha256(flat.encode()).hexdigest()


def _message(conversation_id: str, role: str, text: str, state: str, agent: str) -> Message:
    return Message(
        id=new_id(),
        conversation_id=conversation_id,
        role=role,
        content=text,
        state=state,
        agent=agent,
        trace_id=new_id().replace("-", ""),  # as OpenTelemetry has it: the trace's own id
        steps=[],
        sources=[],
    )


def _history(messages: Sequence[Message]) -> list[tuple[str, str]]:
    """Questions with a complete answer; one that failed would teach the model to fail."""
    kept: list[tuple[str, str]] = []
    for question, answer in pairwise(messages):
        if question.role == "user" and answer.role == "assistant" and answer.state == "complete":
            kept += [("user", question.content), ("assistant", answer.content)]
    return kept
