"""Datasets in SQL: what lies under a digest, and whose it is."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ForeignKey, UniqueConstraint, func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from gateway.db.base import Base


class Dataset(Base):
    """`kind`: "file" is one that was uploaded, else it was built and holds rows of that kind. Equal content
    of two projects is one content on the disk and two rows. `parents` are ids of datasets that it was built
    from.
    """

    __tablename__ = "datasets"
    __table_args__ = (UniqueConstraint("project_id", "name"),)

    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id", ondelete="CASCADE"))
    user_id: Mapped[str]
    name: Mapped[str]
    kind: Mapped[str]
    format: Mapped[str]
    state: Mapped[str]
    error: Mapped[str | None]
    digest: Mapped[str] = mapped_column(index=True)
    bytes: Mapped[int]
    facts: Mapped[dict[str, Any]]
    parents: Mapped[list[str]]
    job_id: Mapped[str | None]


async def find(session: AsyncSession, project_id: str, reference: str) -> Dataset | None:
    """By id or name."""
    mine = select(Dataset).where(Dataset.project_id == project_id)
    return await session.scalar(mine.where(or_(Dataset.id == reference, Dataset.name == reference)))


async def of_project(session: AsyncSession, project_id: str) -> list[Dataset]:
    query = select(Dataset).where(Dataset.project_id == project_id).order_by(Dataset.id)
    return list(await session.scalars(query))


async def everybodys(session: AsyncSession) -> list[Dataset]:
    """Of all projects."""
    return list(await session.scalars(select(Dataset).order_by(Dataset.id)))


async def with_digest(session: AsyncSession, digest: str) -> int:
    """How many rows of all projects hold this content."""
    query = select(func.count()).select_from(Dataset).where(Dataset.digest == digest)
    return int(await session.scalar(query) or 0)
