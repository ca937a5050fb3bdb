"""The worker's record of jobs, read and written from the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from gateway.errors import BadRequest, NotFound, UpstreamFailed
from gateway.probes import beating
from rlhf.errors import JobNotFound, JobRefused
from rlhf.jobs import Jobs

T = TypeVar("T")
MISSING = "No worker has run on this data folder yet; `loopyard up` starts one."
ASLEEP = "No worker runs on this data folder; `loopyard up`, or `python -m rlhf worker`, starts one."


class Record:
    """Opened at the first use, because the worker's first start makes it.

    Args:
        folder: DATA/jobs.
        url: the PostgreSQL database of the record, empty for SQLite in the folder.
        heartbeat: the file that the worker writes every few seconds, DATA/run/worker.json.
    """

    def __init__(self, folder: Path, url: str = "", heartbeat: Path | None = None) -> None:
        self._folder, self._url, self._heartbeat = folder, url, heartbeat
        self._jobs: Jobs | None = None
        self._opening = asyncio.Lock()

    async def use(self, work: Callable[[Jobs], T]) -> T:
        """What `work` gives, done in a thread.

        Raises NotFound, BadRequest with the record's own words, UpstreamFailed where there is none.
        """
        jobs = await self._open()
        try:
            return await asyncio.to_thread(work, jobs)
        except JobNotFound as error:
            raise NotFound(str(error), code="job_not_found") from error
        except JobRefused as error:
            raise BadRequest(str(error), code="job_refused") from error

    async def awake(self) -> None:
        """For what nobody wants to happen hours later. Raises UpstreamFailed where no worker lives; workers
        that share a PostgreSQL database may be on any machine, and are taken to be there.
        """
        if self._heartbeat and not self._url and await asyncio.to_thread(beating, self._heartbeat) is None:
            raise UpstreamFailed(ASLEEP)

    async def _open(self) -> Jobs:
        async with self._opening:
            if self._jobs is None:
                if not self._url and not (self._folder / "jobs.sqlite").is_file():
                    raise UpstreamFailed(MISSING)
                self._jobs = await asyncio.to_thread(Jobs, self._folder, self._url)
            return self._jobs

    async def close(self) -> None:
        if self._jobs is not None:
            await asyncio.to_thread(self._jobs.__exit__, None, None, None)
            self._jobs = None
