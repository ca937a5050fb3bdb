"""Projects in SQL."""

from __future__ import annotations

from sqlalchemy import ForeignKey, UniqueConstraint, or_, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from gateway.db.base import Base


class Project(Base):
    """Isolates documents, databases and conversations."""

    __tablename__ = "projects"
    __table_args__ = (UniqueConstraint("account_id", "name"),)

    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.id", ondelete="CASCADE"))
    name: Mapped[str]
    title: Mapped[str]
    icon: Mapped[str]
    colour: Mapped[str]


async def find(session: AsyncSession, account_id: str, reference: str) -> Project | None:
    """By id or name."""
    mine = select(Project).where(Project.account_id == account_id)
    return await session.scalar(mine.where(or_(Project.id == reference, Project.name == reference)))


async def of_account(session: AsyncSession, account_id: str) -> list[Project]:
    query = select(Project).where(Project.account_id == account_id).order_by(Project.id)
    return list(await session.scalars(query))
