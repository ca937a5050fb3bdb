"""The worker: runs the jobs of one data folder, resumes those that an earlier worker left."""

import fcntl
import json
import logging
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Protocol
from uuid import uuid4

from dbos import DBOS, DBOSConfig

from rlhf.errors import RlhfError, WorkerBusy
from rlhf.jobs import (
    APPLICATION,
    APPLICATION_VERSION,
    APPROVAL_QUEUE,
    CPU_QUEUE,
    GPU_QUEUE,
    KINDS,
    WAITING_QUEUE,
    Jobs,
    Kind,
    database_url,
)
from rlhf.pipelines.lease import gpus
from rlhf.settings import Settings

_log = logging.getLogger(__name__)
POLL = 0.25
"""Seconds between two looks into a queue."""
MANY = 100
"""Jobs that may wait at the same time, each with a thread and no processor."""


def work(settings: Settings, stop: threading.Event | None = None) -> None:
    """Run jobs until `stop` is set, by default by SIGTERM or SIGINT.

    Raises:
        WorkerBusy: another worker has the folder.
    """
    stop = stop or _stop_on_signal()
    settings.data.mkdir(parents=True, exist_ok=True)
    settings.run.mkdir(parents=True, exist_ok=True)
    with (
        _owning(settings) as fleet,
        _launched(settings, fleet.name),
        Jobs(settings.data, settings.jobs_url) as jobs,
        _following(settings),
    ):
        _log.info("worker ready", extra={"data": str(settings.data)})
        looked = 0.0
        try:
            while not stop.is_set():
                beat(settings.run / "worker.json", fleet.name)
                fleet.take_over()
                if time.monotonic() - looked >= settings.schedule_seconds:
                    looked = time.monotonic()
                    _ask_for_what_is_due(settings.data, jobs)
                stop.wait(settings.beat_seconds)
        finally:
            (settings.run / "worker.json").unlink(missing_ok=True)


def _ask_for_what_is_due(folder: Path, jobs: Jobs) -> None:
    if not (folder / "schedules").is_dir():
        return
    from rlhf.pipelines.schedule import tick

    try:
        for job_id in tick(folder, jobs):
            _log.info("asked for a pipeline that is due", extra={"job": job_id})
    except (RlhfError, ValueError):
        # Rows that cannot be read are no reason to stop the work.
        _log.exception("cannot look for what is due")


def beat(path: Path, name: str) -> None:
    """Say that we live, under which name in the record, and how many jobs wait and run."""
    running = DBOS.list_workflows(status=["PENDING"], load_input=False, load_output=False)
    queued = DBOS.list_workflows(status=["ENQUEUED", "DELAYED"], load_input=False, load_output=False)
    jobs = {"running": [w.workflow_id for w in running], "queued": len(queued)}
    facts = {"service": "worker", "name": name, "pid": os.getpid(), "time": time.time(), "jobs": jobs}
    _replace(path, facts)


class Owner(Protocol):
    """A worker that has its jobs for itself, or shares them."""

    name: str
    """Its executor in the record."""

    def take_over(self) -> None:
        """Take what dead workers left."""


class Alone:
    """The one worker of an SQLite record: two could take the same job (dbos-transact-py#541)."""

    name = "local"

    def take_over(self) -> None:
        """Nobody else can have left anything."""


def _owning(settings: Settings) -> AbstractContextManager[Owner]:
    if settings.jobs_url:
        from rlhf.fleet import member

        return member(settings.jobs_url, f"worker-{uuid4().hex[:12]}")
    return _only_worker(settings.data)


def _following(settings: Settings) -> AbstractContextManager[None]:
    from rlhf.objects.follow import following
    from rlhf.pipelines.run import Place

    return following(Place.depots, settings.s3, adopts=True)


@contextmanager
def _launched(settings: Settings, name: str) -> Iterator[None]:
    # Both register their workflows, before launch so that recovery knows them.
    import rlhf.check  # noqa: F401
    from rlhf.pipelines.run import Place

    Place.settle(settings)
    _replace(settings.data / KINDS, [kind.value for kind in Kind])
    there = len(gpus(settings.nvidia_smi))
    config = DBOSConfig(
        name=APPLICATION,
        application_version=APPLICATION_VERSION,
        system_database_url=database_url(settings.data, settings.jobs_url),
        enable_otlp=False,
        log_level="WARNING",
        executor_id=name,
    )
    DBOS(config=config)
    waiting = [] if settings.helper else [WAITING_QUEUE, APPROVAL_QUEUE]
    DBOS.listen_queues([*settings.resources.split(","), *waiting])
    DBOS.launch()
    DBOS.register_queue(CPU_QUEUE, worker_concurrency=settings.cpu_jobs, polling_interval_sec=POLL)
    DBOS.register_queue(GPU_QUEUE, worker_concurrency=max(1, there), polling_interval_sec=POLL)
    for queue in (WAITING_QUEUE, APPROVAL_QUEUE):
        DBOS.register_queue(queue, worker_concurrency=MANY, polling_interval_sec=POLL)
    try:
        yield
    finally:
        DBOS.destroy(workflow_completion_timeout_sec=settings.stop_seconds)


@contextmanager
def _only_worker(folder: Path) -> Iterator[Alone]:
    with (folder / "worker.lock").open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            holder = file.read().strip()
            raise WorkerBusy(
                f"{folder} has a worker already, process {holder}; stop that one first, or set RLHF_JOBS_URL "
                "to a PostgreSQL database, which several workers can share"
            ) from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield Alone()


def _replace(path: Path, content: object) -> None:
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    partial.write_text(json.dumps(content))
    partial.replace(path)


def _stop_on_signal() -> threading.Event:
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    return stop
