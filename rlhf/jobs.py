"""The contract of a job: what can be asked of the worker, and what becomes of it. Free of torch.

A job is a durable DBOS workflow: each step is recorded, a worker that was killed runs only what is missing.
The record is an SQLite file in DATA/jobs, or a PostgreSQL database that several workers share; this module
writes requests into it and reads states from it, the workers alone run them.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self

from rlhf.errors import JobNotFound, JobRefused
from rlhf.logbook import Logbook, LogLine, Progress

if TYPE_CHECKING:
    from dbos import WorkflowStatus

APPLICATION = "loopyard"
# Pinned: DBOS resumes only jobs of the same version. A workflow whose steps change gets a new name instead
# ("check-2"), so that an update strands nothing.
APPLICATION_VERSION = "1"
CPU_QUEUE, GPU_QUEUE = "cpu", "gpu"
# Whatever only waits holds no processor. People are waited for apart from steps: a pipeline that waits for an
# answer must not be what the answer's step waits for.
WAITING_QUEUE, APPROVAL_QUEUE = "waiting", "approvals"
Resource = Literal["cpu", "gpu"]
FIRST, NORMAL, LAST = 1, 100, 10_000
APPROVAL, ANNOTATE = "approval", "annotate"
WAITING = frozenset({APPROVAL, ANNOTATE})
"""Kinds of steps that compute nothing and wait for people."""
KINDS, RECORD = "kinds.json", "jobs.sqlite"


class Kind(StrEnum):
    """What a worker can do; the value is the name of the workflow. Plugins add kinds of steps to the last."""

    CHECK = "check"
    """Arguments: folder of the models, file of the record."""
    TRAIN = "train"
    """Arguments: recipe as a dict, folder of the dataset, and what else `pipelines.run.train` wants."""
    PIPELINE = "pipeline"
    """Arguments: specification as a dict, parameters as a dict."""


class State(StrEnum):
    """Where a job, or a part of one, is."""

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
ENDED = frozenset({State.DONE, State.FAILED, State.CANCELLED})


@dataclass(frozen=True)
class Job:
    """A job as it stands.

    Attributes:
        created_at: Unix time in seconds.
        result: what the job returned, None unless it is done.
        error: why it failed, empty unless it did.
        progress: None before it has begun, and for a kind that says nothing.
        priority: 1 goes first; among equals the older one.
        title: what the asker called it, such as the name of the pipeline.
    """

    id: str
    kind: str
    state: State
    created_at: float
    result: Any = None
    error: str = ""
    progress: Progress | None = None
    priority: int = NORMAL
    resource: Resource = "cpu"
    title: str = ""
    started_at: float | None = None
    ended_at: float | None = None


@dataclass(frozen=True)
class Part:
    """A step of a pipeline as it stands.

    Attributes:
        kind: the step's kind, such as `train`.
        state: None before its turn.
        waits_for_approval: it goes on when somebody calls `Jobs.approve`, if not before.
        reused: its output was there already, made from the same inputs by the same code.
        result: outputs by port, once it is done.
    """

    name: str
    kind: str
    state: State | None
    error: str = ""
    progress: Progress | None = None
    waits_for_approval: bool = False
    reused: bool = False
    seconds: float | None = None
    result: Mapping[str, Any] | None = None


def database_url(folder: Path, url: str = "") -> str:
    """Address of the durable record: `url` (PostgreSQL), or the SQLite file in a jobs folder."""
    return url or f"sqlite:///{folder.absolute() / RECORD}"


def part_id(job_id: str, step: str, turn: int) -> str:
    """Id of the workflow that runs a step; a job that is resumed takes another turn."""
    return f"{job_id}.{turn}.{step}"


class Jobs:
    """Asks for jobs and follows them, from any process.

    Args:
        folder: the worker's RLHF_DATA; its record is made by the worker's first start.
        url: the worker's RLHF_JOBS_URL.

    Raises:
        JobRefused: there is no record yet.
    """

    def __init__(self, folder: Path, url: str = "") -> None:
        # Here and not above: whoever only needs the names need not load an SQL toolkit.
        from dbos import DBOSClient

        if not url and not (folder / RECORD).is_file():
            raise JobRefused(f"no worker has ever run on {folder}: start one (python -m rlhf worker)")
        self.folder, self.book = folder, Logbook(folder)
        self._client = DBOSClient(system_database_url=database_url(folder, url), application_name=APPLICATION)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        self._client.destroy()

    def kinds(self) -> Sequence[str]:
        """What the worker that started last can do, plugins included."""
        file = self.folder / KINDS
        return list(json.loads(file.read_text())) if file.is_file() else [kind.value for kind in Kind]

    def ask(
        self,
        kind: str,
        *arguments: object,
        once: str | None = None,
        priority: int = NORMAL,
        resource: Resource = "cpu",
        title: str = "",
    ) -> str:
        """Put a job into the queue; gives its id.

        Args:
            once: an id of the caller's: asked twice with the same one, the first job is given back.
            priority: 1 (first) to 10,000 (last).
            resource: `gpu` waits for a lease on a GPU; where the worker has none it runs on the CPU.

        Raises:
            JobRefused: no worker knows this kind, or the priority or the id makes no sense.
        """
        self._check(str(kind), once, priority)
        queue = {"gpu": GPU_QUEUE, "cpu": CPU_QUEUE}[resource]
        options: dict[str, Any] = {
            "queue_name": WAITING_QUEUE if kind == Kind.PIPELINE else queue,
            "workflow_name": str(kind),
            "app_version": APPLICATION_VERSION,
            "priority": priority,
            "attributes": {"resource": resource, "title": title},
        }
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
        return self._job(self._workflow(job_id))

    def list(self, limit: int = 50) -> Sequence[Job]:
        """The latest jobs, the newest first."""
        found = self._client.list_workflows(limit=limit, sort_desc=True, has_parent=False)
        return [self._job(workflow) for workflow in found]

    def steps(self, job_id: str) -> Sequence[str]:
        """Names of the steps that are recorded as done, in order."""
        return [step["function_name"] for step in self._client.list_workflow_steps(job_id)]

    def parts(self, job_id: str) -> Sequence[Part]:
        """The steps of a pipeline in the order of its specification; empty for another kind of job."""
        return self._parts(self._workflow(job_id))

    def _parts(self, workflow: WorkflowStatus) -> Sequence[Part]:
        if workflow.name != Kind.PIPELINE or workflow.input is None:
            return []
        job_id = workflow.workflow_id
        specified: Mapping[str, Mapping[str, Any]] = workflow.input["args"][0]["steps"]
        latest: dict[str, WorkflowStatus] = {}
        for child in self._client.list_workflows(parent_workflow_id=job_id, load_input=False):
            latest[child.workflow_id.rpartition(".")[2]] = child
        return [self._part(name, step, latest.get(name)) for name, step in specified.items()]

    def log(self, job_id: str, after: int = 0) -> Sequence[LogLine]:
        """What a job said after line `after`; those of a pipeline's steps among them. JobNotFound."""
        self._workflow(job_id)
        return self.book.read(job_id, after)

    def cancel(self, job_id: str) -> None:
        """Stop a job: what computes is killed with everything that it started, what it had not finished is
        deleted.
        """
        self._client.cancel_workflow(job_id, cancel_children=True)

    def resume(self, job_id: str) -> None:
        """Run a job again that has failed or was cancelled, under its id; steps whose output is there are
        not done again. JobNotFound; JobRefused where it runs or is done.
        """
        job = self.get(job_id)
        if job.state not in (State.FAILED, State.CANCELLED):
            raise JobRefused(f"job {job_id} is {job.state}; only one that failed or was cancelled resumes")
        queue = WAITING_QUEUE if job.kind == Kind.PIPELINE else job.resource
        self._client.rewind_workflow(job_id, queue_name=queue, application_version=APPLICATION_VERSION)

    def erase(self, job_id: str) -> None:
        """Forget a job that has ended, with its log. JobNotFound; JobRefused where it has not ended."""
        job = self.get(job_id)
        if job.state not in ENDED:
            raise JobRefused(f"job {job_id} is {job.state}; cancel it first")
        self._client.delete_workflow(job_id, delete_children=True)
        self.book.erase(job_id)

    def approve(self, job_id: str, step: str, approved: bool, by: str, note: str = "") -> None:
        """Answer a step that waits for approval. JobNotFound; JobRefused where it does not wait."""
        waiting = [part.name for part in self.parts(job_id) if part.waits_for_approval]
        if step not in waiting:
            known = ", ".join(waiting) or "no step"
            raise JobRefused(f"`{step}` of job {job_id} does not wait for approval; {known} does")
        children = self._client.list_workflows(parent_workflow_id=job_id, status="PENDING", load_input=False)
        [child] = [c for c in children if c.workflow_id.rpartition(".")[2] == step]
        answer = {"approved": approved, "by": by, "note": note}
        self._client.send(child.workflow_id, answer, topic=APPROVAL)

    def _workflow(self, job_id: str) -> WorkflowStatus:
        found = self._client.list_workflows(workflow_ids=[job_id])
        if not found:
            raise JobNotFound(f"there is no job {job_id!r}")
        return found[0]

    def _check(self, kind: str, once: str | None, priority: int) -> None:
        if kind not in (known := self.kinds()):
            near = difflib.get_close_matches(kind, known, 1)
            hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(known)}"
            raise JobRefused(f"no worker does jobs of the kind {kind!r}; {hint}")
        if not FIRST <= priority <= LAST:
            raise JobRefused(f"the priority {priority} is not between {FIRST} and {LAST}")
        if once is not None and not (once.replace("-", "").replace("_", "").isalnum() and len(once) <= 80):
            raise JobRefused(f"the id {once!r} is not made of up to 80 letters, digits, - and _")

    def _job(self, workflow: WorkflowStatus) -> Job:
        state = STATES[workflow.status]
        attributes = workflow.attributes or {}
        return Job(
            id=workflow.workflow_id,
            kind=workflow.name,
            state=state,
            created_at=(workflow.created_at or 0) / 1000,
            result=workflow.output if state is State.DONE else None,
            error=_error(workflow),
            progress=self._progress(workflow),
            priority=workflow.priority or NORMAL,
            resource=attributes.get("resource", "cpu"),
            title=attributes.get("title", ""),
            started_at=_seconds(workflow.dequeued_at),
            ended_at=_seconds(workflow.completed_at),
        )

    def _progress(self, workflow: WorkflowStatus) -> Progress | None:
        """What a job said; of a pipeline, what its steps said."""
        if workflow.name == Kind.PIPELINE and workflow.status == "SUCCESS":
            return Progress(1.0, "done")
        parts = self._parts(workflow)
        if not parts:
            return self.book.progress(workflow.workflow_id)
        running = [part for part in parts if part.state is State.RUNNING]
        said = [(part.name, part.progress) for part in running if part.progress is not None]
        done = sum(part.state is State.DONE for part in parts) + sum(found.done for _, found in said)
        texts = [f"{name}: {found.text}" for name, found in said] or [part.name for part in running]
        latest = max((found for _, found in said), key=lambda found: found.left_s or 0, default=None)
        return Progress(
            done / len(parts),
            "; ".join(texts) or f"{sum(part.state is State.DONE for part in parts)} of {len(parts)} steps",
            latest.rate if latest else None,
            latest.left_s if latest else None,
        )

    def _part(self, name: str, step: Mapping[str, Any], child: WorkflowStatus | None) -> Part:
        kind = str(step.get("kind", ""))
        if child is None:
            return Part(name, kind, None)
        state = STATES[child.status]
        output: Mapping[str, Any] = (child.output or {}) if state is State.DONE else {}
        progress = self.book.progress(child.workflow_id)
        return Part(
            name,
            kind,
            state,
            error=_error(child),
            progress=progress,
            # It says so once it waits; one that is not needed runs for a moment as well.
            waits_for_approval=kind in WAITING and state is State.RUNNING and progress is not None,
            reused=bool(output.get("reused")),
            seconds=output.get("seconds"),
            result=output.get("outputs"),
        )


def _error(workflow: WorkflowStatus) -> str:
    return str(workflow.error or workflow.status) if STATES[workflow.status] is State.FAILED else ""


def _seconds(milliseconds: int | None) -> float | None:
    return milliseconds / 1000 if milliseconds is not None else None
