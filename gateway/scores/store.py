"""Scores on their way to the trace store, in SQL."""

from __future__ import annotations

from typing import Any

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped

from gateway.db.base import Base


class ScoreChange(Base):
    """What somebody said or took back, until it is on its way. Ids sort by time: later ones win."""

    __tablename__ = "score_changes"

    scores: Mapped[list[dict[str, Any]]]
    """As Langfuse's API has them."""
    gone: Mapped[list[str]]
    """Ids of scores that are taken back."""


async def oldest(session: AsyncSession, count: int) -> list[ScoreChange]:
    return list(await session.scalars(select(ScoreChange).order_by(ScoreChange.id).limit(count)))


async def waiting(session: AsyncSession) -> int:
    return await session.scalar(select(func.count()).select_from(ScoreChange)) or 0
