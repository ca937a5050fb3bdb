"""Feedback in SQL: one row a user and message."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ForeignKey, UniqueConstraint, or_, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from gateway.conversations.store import Conversation, Message
from gateway.db.base import Base

MARKS = ("thumb", "stars", "comment", "correction")
"""What feedback may say: columns, and names on the wire."""


class Feedback(Base):
    """What a user thinks of an answer. The row stays when all is taken back: its scores keep their ids."""

    __tablename__ = "feedback"
    __table_args__ = (UniqueConstraint("message_id", "user_id"),)

    message_id: Mapped[str] = mapped_column(ForeignKey("messages.id", ondelete="CASCADE"))
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    thumb: Mapped[str | None]
    stars: Mapped[int | None]
    comment: Mapped[str | None]
    correction: Mapped[str | None]
    updated_at: Mapped[datetime]


async def answer(session: AsyncSession, user_id: str, message_id: str) -> tuple[Message, Conversation] | None:
    """An answer in a conversation of this user."""
    query = select(Message, Conversation).join(Conversation, Message.conversation_id == Conversation.id)
    mine = (Message.id == message_id, Message.role == "assistant", Conversation.user_id == user_id)
    row = (await session.execute(query.where(*mine))).first()
    return (row[0], row[1]) if row else None


async def find(session: AsyncSession, user_id: str, message_id: str) -> Feedback | None:
    query = select(Feedback).where(Feedback.message_id == message_id, Feedback.user_id == user_id)
    return await session.scalar(query)


async def of_conversation(
    session: AsyncSession, user_id: str, project_id: str | None, conversation_id: str
) -> list[Feedback]:
    """Those that say something. `project_id`: of this project only; None is all."""
    query = select(Feedback).join(Message, Feedback.message_id == Message.id)
    query = query.join(Conversation, Message.conversation_id == Conversation.id)
    query = query.where(Feedback.user_id == user_id, Conversation.id == conversation_id)
    query = query.where(or_(*(getattr(Feedback, name).is_not(None) for name in MARKS)))
    if project_id:
        query = query.where(Conversation.project_id == project_id)
    return list(await session.scalars(query.order_by(Feedback.message_id)))
