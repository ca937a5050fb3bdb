"""Documents in SQL: what was uploaded and how far its ingestion is."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import ForeignKey, UniqueConstraint, func, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from gateway.db.base import Base

UNFINISHED = ("queued", "parsing", "embedding", "awaiting-embeddings")
"""States that the next start takes up again."""


class Document(Base):
    """`sha256` of the content makes uploads idempotent; `title` is what the document calls itself."""

    __tablename__ = "documents"
    __table_args__ = (UniqueConstraint("project_id", "name"),)

    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id", ondelete="CASCADE"), index=True)
    name: Mapped[str]
    title: Mapped[str | None]
    media_type: Mapped[str]
    bytes: Mapped[int]
    sha256: Mapped[str] = mapped_column(index=True)
    state: Mapped[str]
    error: Mapped[str | None]
    done: Mapped[int] = mapped_column(default=0)
    total: Mapped[int] = mapped_column(default=0)
    pages: Mapped[int | None]
    chunks: Mapped[int | None]
    updated_at: Mapped[datetime | None]


async def by_content(session: AsyncSession, project_id: str, sha256: str) -> Document | None:
    query = select(Document).where(Document.project_id == project_id, Document.sha256 == sha256)
    return await session.scalar(query.order_by(Document.id).limit(1))


async def by_name(session: AsyncSession, project_id: str, name: str) -> Document | None:
    query = select(Document).where(Document.project_id == project_id, Document.name == name)
    return await session.scalar(query)


async def of_project(session: AsyncSession, project_id: str) -> list[Document]:
    query = select(Document).where(Document.project_id == project_id).order_by(Document.name)
    return list(await session.scalars(query))


async def in_states(session: AsyncSession, states: Sequence[str]) -> list[str]:
    query = select(Document.id).where(Document.state.in_(states)).order_by(Document.id)
    return list(await session.scalars(query))


async def count_documents(session: AsyncSession) -> dict[str, int]:
    """By project."""
    query = select(Document.project_id, func.count()).group_by(Document.project_id)
    return {row[0]: row[1] for row in await session.execute(query)}


async def searchable(session: AsyncSession, project_id: str) -> list[Document]:
    query = select(Document).where(Document.project_id == project_id, Document.chunks > 0)
    return list(await session.scalars(query.order_by(Document.name)))
