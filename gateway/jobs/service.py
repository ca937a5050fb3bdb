"""Jobs: who may ask for which, and see which. The worker does them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path
from typing import Any

from gateway.db.database import Database, unbroken
from gateway.errors import Forbidden, NotFound, UpstreamFailed
from gateway.ids import new_id
from gateway.jobs import store
from gateway.jobs.follow import PAUSE, follow
from gateway.jobs.record import Record
from gateway.jobs.schemas import JobDetail, JobOut, LineOut
from gateway.jobs.store import JobRow
from gateway.jobs.view import job_detail, job_out, line_out
from gateway.policy import Caller, Scope
from gateway.projects.store import Project
from rlhf.jobs import ENDED, NORMAL, Job, Jobs, Kind, Part, Resource, State

DEPLOY = "deploy"
"""What callers see as the kind of a deployment."""
MANY = 200
"""Jobs of the record that are looked at for a list."""


class JobService:
    """Args:
    record: the worker's.
    models: DATA/models, which a check looks at.
    """

    def __init__(self, database: Database, record: Record, models: Path) -> None:
        self._database = database
        self._record = record
        self.models = models

    async def ask(
        self,
        caller: Caller,
        project: Project,
        kind: Kind,
        arguments: Sequence[Any],
        title: str,
        shown: str = "",
        *,
        asked: dict[str, Any] | None = None,
        priority: int = NORMAL,
        resource: Resource = "cpu",
    ) -> str:
        """The id of a new job of this caller. `shown`: the kind that callers see.

        Raises BadRequest where the worker knows no such kind, UpstreamFailed where there is no record.
        """
        job_id = new_id()
        row = JobRow(id=job_id, account_id=caller.account_id, project_id=project.id, user_id=caller.user_id)
        row.kind, row.title, row.asked = shown or kind.value, title, asked or {}
        await self._keep(row)
        options: dict[str, Any] = {"priority": priority, "resource": resource, "title": title}
        try:
            # After its owner is known: a job must not be anybody's, not for a moment.
            await self._record.use(lambda jobs: jobs.ask(kind, *arguments, once=job_id, **options))
        except BaseException:
            await self._forget(job_id)
            raise
        return job_id

    async def state(self, job_id: str) -> Job:
        """As the record has it, whoever asks: for the gateway itself. Raises NotFound."""
        return await self._record.use(lambda jobs: jobs.get(job_id))

    async def outcome(self, job_id: str) -> Job:
        """As the record has it once it has ended, whoever asks. Raises NotFound, and UpstreamFailed where the
        worker is gone in the meantime.
        """
        while (job := await self.state(job_id)).state not in ENDED:
            await self.awake()
            await asyncio.sleep(PAUSE)
        return job

    async def awake(self) -> None:
        """Raises UpstreamFailed where no worker lives: what is asked for now would wait."""
        await self._record.awake()

    async def stop(self, job_id: str) -> None:
        """Cancel, whoever asks: for the gateway itself."""
        await self._record.use(lambda jobs: jobs.cancel(job_id))

    async def running(self) -> list[Job]:
        """Whosever they are; none where no worker has ever run."""
        try:
            latest = await self._record.use(lambda jobs: jobs.list(MANY))
        except UpstreamFailed:
            return []
        return [job for job in latest if job.state is State.RUNNING]

    async def all(self, caller: Caller, project_id: str | None, limit: int) -> list[JobOut]:
        """The caller's account's, the newest first; for an admin also those that nobody asked for here."""
        rows = await self._rows(caller, project_id or caller.project_id, limit)
        latest = {job.id: job for job in await self._record.use(lambda jobs: jobs.list(MANY))}
        found: list[JobOut] = []
        for row in rows:
            if (job := latest.get(row.id)) is not None and job.state is not State.RUNNING:
                found.append(job_out(job, row))
                continue
            try:
                # One that runs says how far its steps are; one that is old is not among the latest.
                found.append(job_out(*(await self._seen(row.id, row))))
            except NotFound:
                continue  # erased from the record by the worker's own command
        if _operates(caller) and project_id is None:
            known = await self._known(list(latest))
            found += [job_out(job, None) for job in latest.values() if job.id not in known]
        return sorted(found, key=lambda job: job.created_at, reverse=True)[:limit]

    async def get(self, caller: Caller, job_id: str) -> JobDetail:
        """Raises NotFound, in the same words for what is another's."""
        return job_detail(*(await self._seen(job_id, await self._row(caller, job_id))))

    async def cancel(self, caller: Caller, job_id: str) -> JobDetail:
        await self._row(caller, job_id)
        await self._record.use(lambda jobs: jobs.cancel(job_id))
        return await self.get(caller, job_id)

    async def resume(self, caller: Caller, job_id: str) -> JobDetail:
        """Raises NotFound, BadRequest where it runs or is done, Forbidden where it deploys."""
        row = await self._row(caller, job_id)
        if row is not None and row.kind == DEPLOY and not caller.has(Scope.ADMIN):
            raise Forbidden("A deployment that was stopped is for admins to take up again.")
        await self._record.use(lambda jobs: jobs.resume(job_id))
        return await self.get(caller, job_id)

    async def approve(self, caller: Caller, job_id: str, step: str, approved: bool, note: str) -> JobDetail:
        await self._row(caller, job_id)
        await self._record.use(lambda jobs: jobs.approve(job_id, step, approved, caller.name, note))
        return await self.get(caller, job_id)

    async def erase(self, caller: Caller, job_id: str) -> None:
        """Raises NotFound, BadRequest where it has not ended."""
        await self._row(caller, job_id)
        await self._record.use(lambda jobs: jobs.erase(job_id))
        await self._forget(job_id)

    async def log(self, caller: Caller, job_id: str, after: int) -> list[LineOut]:
        await self._row(caller, job_id)
        return [line_out(line) for line in await self._record.use(lambda jobs: jobs.log(job_id, after))]

    async def events(self, caller: Caller, job_id: str, after: int) -> AsyncGenerator[bytes, None]:
        """The log after a line, and what follows until the job ends. Raises NotFound before the stream."""
        row = await self._row(caller, job_id)
        await self._record.use(lambda jobs: jobs.get(job_id))
        return follow(self._record, job_id, row, after)

    async def _seen(self, job_id: str, row: JobRow | None) -> tuple[Job, JobRow | None, Sequence[Part]]:
        def look(jobs: Jobs) -> tuple[Job, Sequence[Part]]:
            job = jobs.get(job_id)
            return job, jobs.parts(job_id) if job.kind == Kind.PIPELINE else ()

        job, parts = await self._record.use(look)
        return job, row, parts

    @unbroken
    async def _row(self, caller: Caller, job_id: str) -> JobRow | None:
        """The owner's row of a job that this caller may see; None for one that only an admin may."""
        async with self._database.read() as session:
            row = await session.get(JobRow, job_id)
        if row is None and _operates(caller):
            return None
        theirs = row is not None and row.account_id == caller.account_id
        if not theirs or row is None or caller.project_id not in (None, row.project_id):
            raise NotFound(f"there is no job {job_id!r}", code="job_not_found")
        return row

    @unbroken
    async def _rows(self, caller: Caller, project_id: str | None, limit: int) -> list[JobRow]:
        async with self._database.read() as session:
            return await store.of(session, caller.account_id, project_id, limit)

    @unbroken
    async def _known(self, ids: list[str]) -> set[str]:
        async with self._database.read() as session:
            return await store.known(session, ids)

    @unbroken
    async def _keep(self, row: JobRow) -> None:
        async with self._database.write() as session:
            session.add(row)

    @unbroken
    async def _forget(self, job_id: str) -> None:
        async with self._database.write() as session:
            if (row := await session.get(JobRow, job_id)) is not None:
                await session.delete(row)


def _operates(caller: Caller) -> bool:
    """Whether the caller is the operator, whom no project binds."""
    return caller.has(Scope.ADMIN) and caller.project_id is None
