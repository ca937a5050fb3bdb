"""Two answers to one question of a chat, and which one was chosen, in SQL."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from gateway.conversations.store import Conversation, Message
from gateway.db.base import Base


class Comparison(Base):
    """`task` is that of the room annotation: what the model saw, both answers and whose they are."""

    __tablename__ = "comparisons"

    message_id: Mapped[str] = mapped_column(ForeignKey("messages.id", ondelete="CASCADE"), index=True)
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    task: Mapped[dict[str, Any]]
    temperature: Mapped[float]
    """Of the second answer."""
    choice: Mapped[str | None]
    updated_at: Mapped[datetime]


async def of_answer(session: AsyncSession, user_id: str, message_id: str) -> list[Comparison]:
    """In the order of their making."""
    mine = (Comparison.message_id == message_id, Comparison.user_id == user_id)
    return list(await session.scalars(select(Comparison).where(*mine).order_by(Comparison.id)))


async def find(
    session: AsyncSession, user_id: str, project_id: str | None, comparison_id: str
) -> tuple[Comparison, Message] | None:
    """`project_id`: of this project only; None is all."""
    row = (await session.execute(_mine(user_id, project_id).where(Comparison.id == comparison_id))).first()
    return (row[0], row[1]) if row else None


async def of_conversation(
    session: AsyncSession, user_id: str, project_id: str | None, conversation_id: str
) -> list[Comparison]:
    query = _mine(user_id, project_id).where(Conversation.id == conversation_id).order_by(Comparison.id)
    return [row[0] for row in await session.execute(query)]


def _mine(user_id: str, project_id: str | None) -> Any:
    query = select(Comparison, Message).join(Message, Comparison.message_id == Message.id)
    query = query.join(Conversation, Message.conversation_id == Conversation.id)
    query = query.where(Comparison.user_id == user_id)
    return query.where(Conversation.project_id == project_id) if project_id else query
