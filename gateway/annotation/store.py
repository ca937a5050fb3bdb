"""Tasks and judgements in SQL: a task once a project, a judgement once a task and annotator."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, ForeignKey, UniqueConstraint, delete, func, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from gateway.db.base import Base

TOGETHER = 500
"""Rows that one statement deletes."""


class AnnotationTask(Base):
    """`name` is the task's own id; `pair` names its content, whichever side an answer is on."""

    __tablename__ = "annotation_tasks"
    __table_args__ = (UniqueConstraint("project_id", "name"),)

    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id", ondelete="CASCADE"))
    name: Mapped[str]
    pair: Mapped[str]
    task: Mapped[dict[str, Any]]


class AnnotationJudgement(Base):
    """`choice` is None for a task that was skipped. `annotator` is the key that judged: each annotator has
    one of their own."""

    __tablename__ = "annotation_judgements"
    __table_args__ = (UniqueConstraint("task_id", "annotator"),)

    task_id: Mapped[str] = mapped_column(ForeignKey("annotation_tasks.id", ondelete="CASCADE"))
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    annotator: Mapped[str] = mapped_column(index=True)
    choice: Mapped[str | None]
    reasons: Mapped[list[str]]
    comment: Mapped[str]
    correction: Mapped[str | None]
    left_stars: Mapped[int | None]
    right_stars: Mapped[int | None]
    seconds: Mapped[float | None]
    updated_at: Mapped[datetime]


async def named(session: AsyncSession, project_id: str) -> dict[str, str]:
    """The pair of every task, by its name."""
    query = select(AnnotationTask.name, AnnotationTask.pair).where(AnnotationTask.project_id == project_id)
    return {row.name: row.pair for row in await session.execute(query)}


async def task(session: AsyncSession, project_id: str, task_id: str) -> AnnotationTask | None:
    mine = (AnnotationTask.id == task_id, AnnotationTask.project_id == project_id)
    return await session.scalar(select(AnnotationTask).where(*mine))


async def own(session: AsyncSession, task_id: str, annotator: str) -> AnnotationJudgement | None:
    mine = (AnnotationJudgement.task_id == task_id, AnnotationJudgement.annotator == annotator)
    return await session.scalar(select(AnnotationJudgement).where(*mine))


async def unseen(session: AsyncSession, project_id: str, annotator: str) -> AnnotationTask | None:
    """The oldest task on which the annotator has said nothing."""
    said = select(AnnotationJudgement.task_id).where(AnnotationJudgement.annotator == annotator)
    query = select(AnnotationTask).where(
        AnnotationTask.project_id == project_id, AnnotationTask.id.not_in(said)
    )
    return await session.scalar(query.order_by(AnnotationTask.id).limit(1))


async def skipped(session: AsyncSession, project_id: str, annotator: str) -> AnnotationTask | None:
    """The task that was skipped first."""
    query = _of(project_id, annotator).where(AnnotationJudgement.choice.is_(None))
    found: AnnotationTask | None = await session.scalar(
        query.order_by(AnnotationJudgement.updated_at).limit(1)
    )
    return found


async def last(
    session: AsyncSession, project_id: str, annotator: str
) -> tuple[AnnotationTask, AnnotationJudgement] | None:
    """What the annotator said last."""
    query = _of(project_id, annotator).add_columns(AnnotationJudgement)
    order = (AnnotationJudgement.updated_at.desc(), AnnotationJudgement.id.desc())
    row = (await session.execute(query.order_by(*order).limit(1))).first()
    return (row[0], row[1]) if row else None


def _of(project_id: str, annotator: str) -> Any:
    query = select(AnnotationTask).join(AnnotationJudgement, AnnotationJudgement.task_id == AnnotationTask.id)
    return query.where(AnnotationTask.project_id == project_id, AnnotationJudgement.annotator == annotator)


async def count(session: AsyncSession, project_id: str) -> int:
    query = select(func.count()).select_from(AnnotationTask).where(AnnotationTask.project_id == project_id)
    return await session.scalar(query) or 0


async def said(
    session: AsyncSession, project_id: str, annotator: str
) -> list[tuple[str | None, float | None]]:
    """(choice, seconds) of everything that the annotator said."""
    query = _of(project_id, annotator).with_only_columns(
        AnnotationJudgement.choice, AnnotationJudgement.seconds
    )
    return [(choice, seconds) for choice, seconds in await session.execute(query)]


async def tasks(session: AsyncSession, project_id: str) -> Sequence[AnnotationTask]:
    query = select(AnnotationTask).where(AnnotationTask.project_id == project_id)
    return list(await session.scalars(query.order_by(AnnotationTask.id)))


async def judgements(session: AsyncSession, project_id: str) -> Sequence[AnnotationJudgement]:
    """Those that chose, in the order of their tasks."""
    query = select(AnnotationJudgement).join(AnnotationTask, AnnotationJudgement.task_id == AnnotationTask.id)
    query = query.where(AnnotationTask.project_id == project_id, AnnotationJudgement.choice.is_not(None))
    return list(await session.scalars(query.order_by(AnnotationTask.id, AnnotationJudgement.annotator)))


async def forget(session: AsyncSession, user: str, traces: frozenset[str]) -> tuple[int, int]:
    """Deletes tasks made of what a user said, with everybody's judgements of them, and the judgements that
    the user gave; how many of each. `traces`: ids of the user's.
    """
    theirs = await _made_of(session, user, traces)
    count = 0
    for at in range(0, len(theirs), TOGETHER):
        some = theirs[at : at + TOGETHER]
        count += await _deleted(session, AnnotationJudgement, AnnotationJudgement.task_id.in_(some))
        await _deleted(session, AnnotationTask, AnnotationTask.id.in_(some))
    count += await _deleted(session, AnnotationJudgement, AnnotationJudgement.user_id == user)
    return len(theirs), count


async def _made_of(session: AsyncSession, user: str, traces: frozenset[str]) -> list[str]:
    asked = AnnotationTask.task["user"].as_string()
    answered = (AnnotationTask.task[(side, "trace", "trace_id")].as_string() for side in ("left", "right"))
    rows = await session.execute(select(AnnotationTask.id, asked, *answered))
    return [row[0] for row in rows if row[1] == user or not traces.isdisjoint(row[2:])]


async def _deleted(session: AsyncSession, table: type[Base], condition: ColumnElement[bool]) -> int:
    done = await session.execute(delete(table).where(condition))
    return int(getattr(done, "rowcount", 0))
