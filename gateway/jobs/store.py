"""Whose a job is. What becomes of it is in the worker's record, not here."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ForeignKey, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from gateway.db.base import Base


class JobRow(Base):
    """`id` is the worker's. `asked` is the request as it came."""

    __tablename__ = "jobs"

    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.id", ondelete="CASCADE"), index=True)
    project_id: Mapped[str | None]
    user_id: Mapped[str]
    kind: Mapped[str]
    title: Mapped[str]
    asked: Mapped[dict[str, Any]]


async def of(session: AsyncSession, account_id: str, project_id: str | None, limit: int) -> list[JobRow]:
    """The newest first; `project_id`: of this project only."""
    query = select(JobRow).where(JobRow.account_id == account_id)
    if project_id:
        query = query.where(JobRow.project_id == project_id)
    return list(await session.scalars(query.order_by(JobRow.id.desc()).limit(limit)))


async def known(session: AsyncSession, ids: list[str]) -> set[str]:
    """Which of these have an owner."""
    return set(await session.scalars(select(JobRow.id).where(JobRow.id.in_(ids))))
