"""Whose a trace is: the answers of this gateway, by the id of their trace."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from gateway.conversations.store import Conversation, Message
from gateway.projects.store import Project

PREVIEW = 300
"""Characters of a question or an answer in a list."""
TOGETHER = 500
"""Ids in one statement."""


@dataclass(frozen=True, slots=True)
class Owner:
    """The chat that a trace is of."""

    project_id: str
    project: str
    account_id: str
    user_id: str
    conversation_id: str
    message_id: str
    question: str
    answer: str


async def owners(session: AsyncSession, traces: Sequence[str]) -> dict[str, Owner]:
    """By trace. A trace of no chat, or of one that was deleted, is left out."""
    text = func.substr(Message.content, 1, PREVIEW)
    query = select(Message.trace_id, Message.id, Message.role, text, Conversation, Project)
    query = query.join(Conversation, Message.conversation_id == Conversation.id)
    query = query.join(Project, Conversation.project_id == Project.id)
    query = query.where(Message.trace_id.in_(traces)).order_by(Message.id)
    texts: dict[str, dict[str, str]] = {}
    found: dict[str, Owner] = {}
    for trace, message, role, content, conversation, project in await session.execute(query):
        said = texts.setdefault(trace, {})
        said[role] = content
        found[trace] = Owner(
            project.id,
            project.name,
            project.account_id,
            conversation.user_id,
            conversation.id,
            message,
            said.get("user", ""),
            said.get("assistant", ""),
        )
    return found


async def saying(session: AsyncSession, traces: Sequence[str], text: str) -> set[str]:
    """Those of the traces whose question or answer holds a text, in any case."""
    holds = Message.content.icontains(text, autoescape=True)
    return set(await session.scalars(select(Message.trace_id).where(Message.trace_id.in_(traces), holds)))


async def of_project(session: AsyncSession, project_id: str, traces: Sequence[str]) -> set[str]:
    """Those of the traces that are chats of a project."""
    query = select(Message.trace_id).join(Conversation, Message.conversation_id == Conversation.id)
    query = query.where(Conversation.project_id == project_id)
    found: set[str] = set()
    for at in range(0, len(traces), TOGETHER):
        some = query.where(Message.trace_id.in_(traces[at : at + TOGETHER]))
        found.update(trace for trace in await session.scalars(some) if trace)
    return found
