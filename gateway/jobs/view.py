"""A job of the worker's record as callers see it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from gateway.jobs.schemas import JobDetail, JobOut, LineOut, PartOut, ProgressOut
from gateway.jobs.store import JobRow
from rlhf.jobs import Job, Part, State
from rlhf.logbook import LogLine, Progress


def job_out(job: Job, row: JobRow | None, parts: Sequence[Part] = ()) -> JobOut:
    """`parts`: those of a pipeline, whose progress is theirs."""
    return JobOut(
        id=job.id,
        kind=row.kind if row else job.kind,
        title=(row.title if row else "") or job.title,
        state=job.state.value,
        error=job.error,
        progress=_progress(job, parts),
        priority=job.priority,
        resource=job.resource,
        project_id=row.project_id if row else None,
        created_at=job.created_at,
        started_at=job.started_at,
        ended_at=job.ended_at,
    )


def job_detail(job: Job, row: JobRow | None, parts: Sequence[Part]) -> JobDetail:
    return JobDetail(
        **job_out(job, row, parts).model_dump(),
        asked=row.asked if row else {},
        result=job.result,
        steps=[_part(part) for part in parts],
    )


def line_out(line: LogLine) -> LineOut:
    return LineOut(**asdict(line))


def _part(part: Part) -> PartOut:
    return PartOut(
        name=part.name,
        kind=part.kind,
        state=part.state.value if part.state else None,
        error=part.error,
        progress=_of(part.progress),
        waits_for_approval=part.waits_for_approval,
        reused=part.reused,
        seconds=part.seconds,
    )


def _progress(job: Job, parts: Sequence[Part]) -> ProgressOut | None:
    if job.state is State.DONE:
        return ProgressOut(done=1.0, text="done")
    if job.progress or not parts:
        return _of(job.progress)
    done = sum(1.0 if p.state is State.DONE else p.progress.done if p.progress else 0.0 for p in parts)
    running = [f"{p.name}: {p.progress.text}" for p in parts if p.state is State.RUNNING and p.progress]
    left = [p.progress.left_s for p in parts if p.state is State.RUNNING and p.progress]
    return ProgressOut(
        done=round(done / len(parts), 4),
        text="; ".join(running),
        left_s=left[0] if len(parts) == 1 and left else None,
    )


def _of(progress: Progress | None) -> ProgressOut | None:
    return ProgressOut(**asdict(progress)) if progress else None
