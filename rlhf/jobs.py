"""The contract of a job: what can be asked of the worker, and what becomes of it. Free of torch.

A job is a durable DBOS workflow: each step is recorded, a worker that was killed runs only what is missing.
The record is an SQLite file in DATA/jobs; this module writes requests into it and reads states from it, the
worker alone runs them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from rlhf.errors import JobNotFound

if TYPE_CHECKING:
    from dbos import WorkflowStatus

APPLICATION = "loopyard"
# Pinned: DBOS resumes only jobs of the same version. A workflow whose steps change gets a new name instead
# ("check-2"), so that an update strands nothing.
APPLICATION_VERSION = "1"
CPU_QUEUE = "cpu"


class Kind(StrEnum):
    """What the worker can do; the value is the name of the workflow."""

    CHECK = "check"


class State(StrEnum):
    """Where a job is."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


STATES = {
    "DELAYED": State.QUEUED,
    "ENQUEUED": State.QUEUED,
    "PENDING": State.RUNNING,
    "SUCCESS": State.DONE,
    "ERROR": State.FAILED,
    "CANCELLED": State.CANCELLED,
    "MAX_RECOVERY_ATTEMPTS_EXCEEDED": State.FAILED,
}


@dataclass(frozen=True)
class Job:
    """A job as it stands.

    Attributes:
        created_at: Unix time in seconds.
        result: what the job returned, None unless it is done.
        error: why it failed, empty unless it did.
    """

    id: str
    kind: str
    state: State
    created_at: float
    result: Any = None
    error: str = ""


def database_url(folder: Path) -> str:
    """Address of the durable record in a jobs folder."""
    return f"sqlite:///{folder.absolute() / 'jobs.sqlite'}"


class Jobs:
    """Asks for jobs and follows them, from any process.

    Args:
        folder: the worker's RLHF_DATA; its record is made by the worker's first start.
    """

    def __init__(self, folder: Path) -> None:
        # Here and not above: whoever only needs the names need not load an SQL toolkit.
        from dbos import DBOSClient

        self._client = DBOSClient(system_database_url=database_url(folder), application_name=APPLICATION)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        self._client.destroy()

    def ask(self, kind: Kind, *arguments: object, once: str | None = None) -> str:
        """Put a job into the queue; gives its id.

        Args:
            once: an id of the caller's: asked twice with the same one, the first job is given back.
        """
        options: dict[str, Any] = {"queue_name": CPU_QUEUE, "workflow_name": kind.value}
        options["app_version"] = APPLICATION_VERSION
        if once:
            options["workflow_id"] = once
        return self._client.enqueue(options, *arguments).get_workflow_id()  # type: ignore[arg-type]  # a TypedDict

    def ask_for_check(self, folder: Path, models: Path, once: str | None = None) -> str:
        """Ask whether the files below `models` are still what the record in the jobs folder says."""
        arguments = (str(models.absolute()), str(folder.absolute() / "models.json"))
        return self.ask(Kind.CHECK, *arguments, once=once)

    def get(self, job_id: str) -> Job:
        """One job.

        Raises:
            JobNotFound: there is none of this id.
        """
        found = self._client.list_workflows(workflow_ids=[job_id])
        if not found:
            raise JobNotFound(f"there is no job {job_id!r}")
        return _job(found[0])

    def list(self, limit: int = 50) -> Sequence[Job]:
        """The latest jobs, the newest first."""
        return [_job(w) for w in self._client.list_workflows(limit=limit, sort_desc=True)]

    def steps(self, job_id: str) -> Sequence[str]:
        """Names of the steps that are recorded as done, in order."""
        return [step["function_name"] for step in self._client.list_workflow_steps(job_id)]

    def cancel(self, job_id: str) -> None:
        """Stop a job before its next step."""
        self._client.cancel_workflow(job_id)


def _job(workflow: WorkflowStatus) -> Job:
    state = STATES[workflow.status]
    return Job(
        id=workflow.workflow_id,
        kind=workflow.name,
        state=state,
        created_at=(workflow.created_at or 0) / 1000,
        result=workflow.output if state is State.DONE else None,
        error=str(workflow.error or workflow.status) if state is State.FAILED else "",
    )
