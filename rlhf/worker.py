"""The worker: runs the jobs of one data folder, resumes those that an earlier worker left."""

import fcntl
import json
import logging
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dbos import DBOS, DBOSConfig

from rlhf.errors import WorkerBusy
from rlhf.jobs import APPLICATION, APPLICATION_VERSION, CPU_QUEUE, GPU_QUEUE, WAITING_QUEUE, database_url
from rlhf.settings import Settings

_log = logging.getLogger(__name__)


def work(settings: Settings, stop: threading.Event | None = None) -> None:
    """Run jobs until `stop` is set, by default by SIGTERM or SIGINT.

    Raises:
        WorkerBusy: another worker has the folder.
    """
    stop = stop or _stop_on_signal()
    settings.data.mkdir(parents=True, exist_ok=True)
    settings.run.mkdir(parents=True, exist_ok=True)
    with _only_worker(settings.data), _launched(settings):
        _log.info("worker ready", extra={"data": str(settings.data)})
        try:
            while not stop.is_set():
                beat(settings.run / "worker.json")
                stop.wait(settings.beat_seconds)
        finally:
            (settings.run / "worker.json").unlink(missing_ok=True)


def beat(path: Path) -> None:
    """Say that we live, and how many jobs wait and run."""
    running = DBOS.list_workflows(status=["PENDING"], load_input=False, load_output=False)
    queued = DBOS.list_workflows(status=["ENQUEUED", "DELAYED"], load_input=False, load_output=False)
    jobs = {"running": [w.workflow_id for w in running], "queued": len(queued)}
    facts = {"service": "worker", "pid": os.getpid(), "time": time.time(), "jobs": jobs}
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(facts))
    partial.replace(path)


@contextmanager
def _launched(settings: Settings) -> Iterator[None]:
    import rlhf.check  # noqa: F401 - registers its workflow, before launch so that recovery knows it

    config = DBOSConfig(
        name=APPLICATION,
        application_version=APPLICATION_VERSION,
        system_database_url=database_url(settings.data),
        enable_otlp=False,
        log_level="WARNING",
        # One worker on SQLite: two could take the same job (dbos-transact-py#541).
        executor_id="local",
    )
    DBOS(config=config)
    DBOS.launch()
    DBOS.register_queue(CPU_QUEUE, worker_concurrency=settings.cpu_jobs, polling_interval_sec=0.5)
    DBOS.register_queue(GPU_QUEUE, worker_concurrency=1, polling_interval_sec=0.5)
    DBOS.register_queue(WAITING_QUEUE, polling_interval_sec=0.5)
    try:
        yield
    finally:
        DBOS.destroy(workflow_completion_timeout_sec=settings.stop_seconds)


@contextmanager
def _only_worker(folder: Path) -> Iterator[None]:
    with (folder / "worker.lock").open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            holder = file.read().strip()
            raise WorkerBusy(
                f"{folder} has a worker already, process {holder}; stop that one first"
            ) from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def _stop_on_signal() -> threading.Event:
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    return stop
