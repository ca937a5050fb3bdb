"""The audit log in SQL: rows are added and never changed."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from gateway.db.base import Base


class AuditEntry(Base):
    """One privileged act. No foreign keys: what a deleted user did stays known."""

    __tablename__ = "audit_log"

    account_id: Mapped[str] = mapped_column(index=True)
    user_id: Mapped[str]
    key_id: Mapped[str]
    request_id: Mapped[str]
    action: Mapped[str]
    target: Mapped[str]
    detail: Mapped[dict[str, Any]]


async def latest(session: AsyncSession, account_id: str, before: str | None, limit: int) -> list[AuditEntry]:
    """The newest first; `before`: older than the entry of this id."""
    query = select(AuditEntry).where(AuditEntry.account_id == account_id)
    if before:
        query = query.where(AuditEntry.id < before)
    return list(await session.scalars(query.order_by(AuditEntry.id.desc()).limit(limit)))
