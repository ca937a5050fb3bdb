"""Database connections in SQL. The address is encrypted; nothing reads it but the call that needs it."""

from __future__ import annotations

from sqlalchemy import ForeignKey, LargeBinary, UniqueConstraint, func, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from gateway.db.base import Base


class DatabaseLink(Base):
    """A database of a project."""

    __tablename__ = "databases"
    __table_args__ = (UniqueConstraint("project_id", "name"),)

    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id", ondelete="CASCADE"), index=True)
    name: Mapped[str]
    dialect: Mapped[str]
    url: Mapped[bytes] = mapped_column(LargeBinary)
    tables: Mapped[int]


async def of_project(session: AsyncSession, project_id: str) -> list[DatabaseLink]:
    query = select(DatabaseLink).where(DatabaseLink.project_id == project_id).order_by(DatabaseLink.name)
    return list(await session.scalars(query))


async def by_name(session: AsyncSession, project_id: str, name: str) -> DatabaseLink | None:
    query = select(DatabaseLink).where(DatabaseLink.project_id == project_id, DatabaseLink.name == name)
    return await session.scalar(query)


async def count_databases(session: AsyncSession) -> dict[str, int]:
    """By project."""
    query = select(DatabaseLink.project_id, func.count()).group_by(DatabaseLink.project_id)
    return {row[0]: row[1] for row in await session.execute(query)}
