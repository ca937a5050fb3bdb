"""Conversations and messages in SQL."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, ForeignKey, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from gateway.db.base import Base


class Conversation(Base):
    """`fingerprint` is the hash of its messages: clients that keep the history themselves are known by it."""

    __tablename__ = "conversations"

    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id", ondelete="CASCADE"), index=True)
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    title: Mapped[str]
    agent: Mapped[str]
    updated_at: Mapped[datetime]
    fingerprint: Mapped[str | None] = mapped_column(index=True)


class Message(Base):
    """A question or an answer. `generation_id` names one attempt at an answer."""

    __tablename__ = "messages"

    conversation_id: Mapped[str] = mapped_column(
        ForeignKey("conversations.id", ondelete="CASCADE"), index=True
    )
    role: Mapped[str]
    content: Mapped[str]
    state: Mapped[str] = mapped_column(index=True)
    agent: Mapped[str]
    trace_id: Mapped[str] = mapped_column(index=True)
    generation_id: Mapped[str | None]
    steps: Mapped[list[dict[str, Any]]] = mapped_column(default=list)
    sources: Mapped[list[dict[str, Any]]] = mapped_column(default=list)
    usage: Mapped[dict[str, Any] | None]
    timings: Mapped[dict[str, Any] | None]
    error: Mapped[dict[str, Any] | None]


async def of_project(session: AsyncSession, project_id: str, user_id: str) -> list[Conversation]:
    mine = (Conversation.project_id == project_id, Conversation.user_id == user_id)
    query = select(Conversation).where(*mine).order_by(Conversation.updated_at.desc()).limit(200)
    return list(await session.scalars(query))


async def find(
    session: AsyncSession, project_id: str, user_id: str, conversation_id: str
) -> Conversation | None:
    mine = (Conversation.project_id == project_id, Conversation.user_id == user_id)
    return await session.scalar(select(Conversation).where(Conversation.id == conversation_id, *mine))


async def by_fingerprint(
    session: AsyncSession, project_id: str, user_id: str, agent: str, fingerprint: str
) -> Conversation | None:
    same = (Conversation.agent == agent, Conversation.fingerprint == fingerprint)
    mine = (Conversation.project_id == project_id, Conversation.user_id == user_id)
    query = select(Conversation).where(*mine, *same).order_by(Conversation.updated_at.desc()).limit(1)
    return await session.scalar(query)


async def messages(session: AsyncSession, conversation_id: str) -> list[Message]:
    query = select(Message).where(Message.conversation_id == conversation_id).order_by(Message.id)
    return list(await session.scalars(query))


async def unfinished(session: AsyncSession, which: ColumnElement[bool]) -> list[str]:
    """Ids of the answers of some conversations that did not reach their end."""
    query = select(Message.id).join(Conversation).where(which, Message.state != "complete")
    return list(await session.scalars(query))


async def interrupt_running(session: AsyncSession, error: dict[str, Any]) -> int:
    """Answers that were running when the gateway died. Returns how many."""
    running = update(Message).where(Message.state == "running")
    result = await session.execute(running.values(state="interrupted", error=error))
    return int(getattr(result, "rowcount", 0))
