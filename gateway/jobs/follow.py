"""A job's log as events: its history, then each new line, until the job ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence

from gateway.jobs.record import Record
from gateway.jobs.store import JobRow
from gateway.jobs.view import job_out, line_out
from gateway.sse import event
from rlhf.jobs import ENDED, Job, Jobs, Kind, Part
from rlhf.logbook import LogLine

PAUSE = 0.5
"""Seconds between two looks."""
Look = tuple[Job, Sequence[Part], Sequence[LogLine]]


async def follow(record: Record, job_id: str, row: JobRow | None, after: int) -> AsyncGenerator[bytes, None]:
    """`line` events carry their number, so that a reader comes back where it was; `job` tells state and
    progress whenever they change; `end` is the last one.
    """

    def look(jobs: Jobs) -> Look:
        # The state first: what a job said before it ended is then in the log.
        job = jobs.get(job_id)
        parts = jobs.parts(job_id) if job.kind == Kind.PIPELINE else ()
        return job, parts, jobs.log(job_id, after)

    told = ""
    while True:
        job, parts, lines = await record.use(look)
        for line in lines:
            yield event("line", line_out(line).model_dump(), line.seq)
            after = line.seq
        seen = job_out(job, row, parts).model_dump(mode="json")
        if repr(seen) != told:
            told = repr(seen)
            yield event("job", seen)
        if job.state in ENDED:
            yield event("end", {"state": job.state.value, "error": job.error})
            return
        await asyncio.sleep(PAUSE)
