"""A pipeline as one durable workflow, and each of its steps as one that it starts.

What a workflow decides is recorded, so that a worker that was killed takes up each where it was; a step's
output is kept by what it was made from, so that a step that was done is not done again either way.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from dbos import DBOS, WorkflowHandle
from dbos import error as dbos_error

from rlhf.errors import GatewayError, RlhfError, StepFailed
from rlhf.jobs import (
    ANNOTATE,
    APPLICATION_VERSION,
    APPROVAL,
    APPROVAL_QUEUE,
    CPU_QUEUE,
    GPU_QUEUE,
    NORMAL,
    Kind,
    part_id,
)
from rlhf.logbook import ERROR, INFO, Logbook, Progress
from rlhf.objects.depots import Depots, open_depots
from rlhf.pipelines import gathering, kinds, outputs, process
from rlhf.pipelines.child import explain
from rlhf.pipelines.lease import leased
from rlhf.pipelines.spec import Planned, Retry, plan, waits
from rlhf.products import derived_name
from rlhf.registry import SHORT
from rlhf.settings import Settings

STEP, WAIT, JUDGED = "step", "wait", "judged"
RECOVERIES = 1000
LOOK = 0.25
"""Seconds between two looks at whether a step has ended."""
FIRST_PAUSE, LONGEST_PAUSE = 5.0, 300.0
"""Seconds between two looks at what people have judged: each is a third longer than the one before."""
Facts = dict[str, Any]


class Place:
    """What the workflows of this process work with; set once, before they begin."""

    settings: Settings
    book: Logbook
    known: kinds.Kinds
    depots: Depots

    @classmethod
    def settle(cls, settings: Settings) -> None:
        """Before DBOS is launched. SettingsError for a plugin that cannot be loaded."""
        cls.settings, cls.book = settings, Logbook(settings.data)
        cls.known = kinds.load(settings.steps)
        cls.depots = open_depots(settings.s3, settings.objects_folder, settings.registry_folder)


@DBOS.workflow(name=Kind.PIPELINE.value, max_recovery_attempts=RECOVERIES)
def pipeline(content: Facts, given: Facts) -> Facts:
    """Run every step as soon as those before it are done; the outputs of all by step.

    Raises:
        PipelineError: the specification makes no sense.
        StepFailed: one could not be done; those that do not need it have been ended first.
    """
    job = str(DBOS.workflow_id)
    planned = plan(content, given, Place.known)
    turn, priority = take_turn(job)
    say(job, f"pipeline {content['name']}: {', '.join(step.name for step in planned)}")
    running: dict[str, WorkflowHandle[Any]] = {}
    done: dict[str, Facts] = {}
    failed: dict[str, str] = {}
    while True:
        for step in planned:
            if not failed and step.name not in {*running, *done} and step.before <= set(done):
                running[step.name] = start(job, turn, priority, step, done)
        if not running:
            break
        first = DBOS.wait_first(list(running.values()), polling_interval_sec=LOOK)
        [name] = [name for name, handle in running.items() if handle.workflow_id == first.workflow_id]
        del running[name]
        try:
            done[name] = first.get_result()["outputs"]
        except (StepFailed, dbos_error.DBOSAwaitedWorkflowCancelledError) as error:
            failed[name] = str(error)
    if failed:
        raise StepFailed("; ".join(f"step `{name}`: {text}" for name, text in failed.items()))
    say(job, "done")
    return done


@DBOS.step()
def take_turn(job: str) -> tuple[int, int]:
    """The number of this attempt at the job, 1 for the first, and the job's priority."""
    children = DBOS.list_workflows(parent_workflow_id=job, load_input=False, load_output=False)
    turns = [int(child.workflow_id.removeprefix(f"{job}.").partition(".")[0]) for child in children]
    [own] = DBOS.list_workflows(workflow_ids=[job], load_input=False, load_output=False)
    return max(turns, default=0) + 1, own.priority or NORMAL


@DBOS.step()
def say(job: str, text: str) -> None:
    """A line of the job itself."""
    Place.book.write(job, text)


def start(
    job: str, turn: int, priority: int, step: Planned, done: Mapping[str, Facts]
) -> WorkflowHandle[Any]:
    """Queue a step where what it needs is free."""
    queue = APPROVAL_QUEUE if waits(step) else GPU_QUEUE if step.resource == "gpu" else CPU_QUEUE
    order = {
        "name": step.name,
        "kind": step.kind.name,
        "parameters": dict(step.parameters),
        "inputs": {port: done[source][output] for port, (source, output) in step.inputs.items()},
        "retry": step.retry.model_dump(),
        "resource": step.resource,
        "memory_mb": step.memory_mb,
        # A step that is to be done afresh shares its output with nothing.
        "salt": f"{job}.{turn}" if step.fresh or not step.kind.cached else None,
    }
    return DBOS.enqueue_workflow_with_options(
        {
            "workflow_name": {APPROVAL: WAIT, ANNOTATE: JUDGED}.get(step.kind.name, STEP),
            "workflow_id": part_id(job, step.name, turn),
            "queue_name": queue,
            "priority": priority,
            "app_version": APPLICATION_VERSION,
        },
        job,
        order,
    )


@DBOS.workflow(name=STEP, max_recovery_attempts=RECOVERIES)
def step_of(job: str, order: Facts) -> Facts:
    """One step, tried again after a failure that may pass. StepFailed."""
    retry, attempt = Retry(**order["retry"]), 1
    while True:
        outcome = attempt_at(job, order, attempt)
        if outcome["ok"]:
            return dict(outcome)
        if outcome["final"] or attempt > retry.times:
            raise StepFailed(outcome["error"])
        DBOS.sleep(retry.pause(attempt))
        attempt += 1


@DBOS.workflow(name=WAIT, max_recovery_attempts=RECOVERIES)
def wait_for_approval(job: str, order: Facts) -> Facts:
    """Wait for `Jobs.approve`, for days if need be. StepFailed where it is refused, or nobody answers."""
    name, parameters = order["name"], order["parameters"]
    if not parameters["needed"]:
        return {"ok": True, "outputs": {"approval": None}, "reused": False, "seconds": None}
    announce(job, name, parameters["question"])
    days = parameters["days"]
    answer = answered(days * 86_400)
    if answer is None:
        raise StepFailed(f"nobody has answered for {days:g} days; resume the job to ask again")
    return {"ok": True, "outputs": {"approval": answer}, "reused": False, "seconds": None}


def answered(seconds: float) -> Facts | None:
    """What a person says within some time. StepFailed where they refuse."""
    answer: Facts | None = DBOS.recv(APPROVAL, timeout_seconds=seconds)
    if answer is not None and not answer["approved"]:
        raise StepFailed(f"{answer['by']} has refused it: {answer['note'] or 'no reason given'}")
    return answer


@DBOS.workflow(name=JUDGED, max_recovery_attempts=RECOVERIES)
def wait_for_judgements(job: str, order: Facts) -> Facts:
    """Wait until enough pairs are judged, none is left, or somebody lets it go on with what there is.
    StepFailed where somebody refuses, or the days are over.
    """
    name, parameters = order["name"], order["parameters"]
    judged: Facts = {"ok": True, "outputs": {"judged": None}, "reused": False, "seconds": None}
    if not (parameters["project"] and parameters["needed"]):
        return judged
    left, pause, said = parameters["days"] * 86_400, FIRST_PAUSE, ""
    while left > 0:
        enough, said = look_at_judgements(job, name, parameters, said)
        if enough or answered(min(pause, left)):
            return judged
        left, pause = left - pause, min(pause * 4 / 3, LONGEST_PAUSE)
    raise StepFailed(f"after {parameters['days']:g} days {said}; resume the job to wait on")


@DBOS.step()
def look_at_judgements(job: str, name: str, parameters: Facts, before: str) -> tuple[bool, str]:
    """Whether enough is judged, and what there is to say of it. A gateway that is away is waited for."""
    try:
        enough, text = gathering.judged(parameters, Place.settings)
    except GatewayError as error:
        enough, text = False, str(error)
    if text != before:
        Place.book.write(job, text, step=name)
    Place.book.advance(str(DBOS.workflow_id), Progress(0.0, text))
    return enough, text


@DBOS.step()
def announce(job: str, name: str, question: str) -> None:
    """Say what is waited for."""
    Place.book.write(job, f"waits for approval: {question}", step=name)
    Place.book.advance(str(DBOS.workflow_id), Progress(0.0, f"waits for approval: {question}"))


@DBOS.workflow(name=Kind.TRAIN.value, max_recovery_attempts=RECOVERIES)
def train(recipe: Facts, dataset: str, wanted: Facts | None = None) -> Facts:
    """Train on a dataset's folder, without a pipeline around it, and register the result. StepFailed.

    Args:
        wanted: `name` in the registry, what it begins with (`beginning.Beginning.plain`), `resource`, and the
            `project` where it is trained, `bound` to the names that are its own.
    """
    job, given = str(DBOS.workflow_id), wanted or {}
    data = {"path": dataset, "digest": digest_of(dataset)}
    parent = {"parent": given["parent"]} if given.get("parent") else {}
    trained = alone(
        job,
        "train",
        {"recipe": recipe, "base": given.get("base", "")},
        {"dataset": data, **parent},
        given.get("resource") or ("gpu" if recipe.get("device") == "cuda" else "cpu"),
    )
    name = given.get("name") or derived_name(Path(dataset).name[:SHORT], recipe.get("method", "dpo"))
    registered = alone(
        job,
        "register",
        {"name": name, "project": given.get("project", ""), "bound": given.get("bound", False)},
        {"dataset": data, **parent, **trained},
        "cpu",
    )
    return {**trained, **registered, "next": registered["version"]["next"]}


def alone(job: str, kind: str, parameters: Facts, inputs: Facts, resource: str) -> Facts:
    """The outputs of a step that no pipeline is around. StepFailed."""
    found = Place.known[kind]
    order = {
        "name": "",
        "kind": kind,
        "parameters": found.parameters.model_validate(parameters).model_dump(mode="json"),
        "inputs": inputs,
        "retry": Retry(times=0).model_dump(),
        "resource": resource,
        "memory_mb": None,
        "salt": None if found.cached else job,
    }
    outcome = attempt_at(job, order, 1)
    if not outcome["ok"]:
        raise StepFailed(outcome["error"])
    return dict(outcome["outputs"])


@DBOS.step()
def digest_of(folder: str) -> str:
    """Hash of a folder's content. StepFailed where there is none."""
    found = Place.depots.here(Path(folder))
    if not found.is_dir():
        raise StepFailed(f"there is no dataset in {folder}: build one first (python -m rlhf dataset build)")
    return outputs.content_sha256(found)


@DBOS.step()
def attempt_at(job: str, order: Facts, attempt: int) -> Facts:
    """Do a step once, or find it done. Says in the log what came of it."""
    name, part = order["name"], str(DBOS.workflow_id)

    def line(text: str, level: str = INFO) -> None:
        Place.book.write(job, text, level, name)

    def cancelled() -> bool:
        found = DBOS.list_workflows(workflow_ids=[part, job], load_input=False, load_output=False)
        return any(workflow.status == "CANCELLED" for workflow in found)

    hearing = process.Hearing(line, lambda said: Place.book.advance(part, Progress(**said)), cancelled)
    try:
        if attempt > 1:
            line(f"attempt {attempt} of {order['retry']['times'] + 1}")
        outcome = once(order, hearing)
    except process.Cancelled:
        line("cancelled; what was not finished is deleted")
        return {"ok": False, "error": "cancelled", "final": True}
    except (RlhfError, OSError) as error:
        text, final = explain(error, Place.settings.data)
        outcome = {"ok": False, "error": text, "final": final}
    if not outcome["ok"]:
        line(outcome["error"], ERROR)
        return outcome
    Place.book.advance(part, Progress(1.0, "reused" if outcome["reused"] else "done"))
    line("its output is there already" if outcome["reused"] else f"done in {outcome['seconds']} s")
    return outcome


def once(order: Facts, hearing: process.Hearing) -> Facts:
    """The outcome of a step: outputs, whether they were there, seconds; or error and whether it is final.

    Raises:
        process.Cancelled: what was not finished is deleted.
    """
    kind, settings = Place.known[order["kind"]], Place.settings
    beside = kind.depends(kind.parameters.model_validate(order["parameters"])) if kind.depends else None
    key = outputs.key_of(
        kind.name, kind.code(), order["parameters"], order["inputs"], [beside, order["salt"]]
    )
    folder, partial = outputs.folders(settings.objects_folder, key)
    with process.holding(settings.data / "locks" / key, hearing.cancelled) as held:
        if (found := outputs.kept(folder, Place.depots)) is not None:
            return {"ok": True, "outputs": found, "reused": True, "seconds": 0.0, "key": key}
        if partial.exists() and not kind.resumes:
            shutil.rmtree(partial)
        partial.mkdir(parents=True, exist_ok=True)
        try:
            done = _compute(order, folder, partial, held, hearing)
        except process.Cancelled:
            shutil.rmtree(partial, ignore_errors=True)
            raise
        if not done["ok"]:
            if done["final"] or not kind.resumes:
                shutil.rmtree(partial, ignore_errors=True)
            return done
        found = outputs.kept(folder, Place.depots)
        return {"ok": True, "outputs": found, "reused": False, "seconds": done["seconds"], "key": key}


def _here(value: Any) -> Any:
    """What a port carries, with the path that it has on this machine."""
    if not (isinstance(value, dict) and isinstance(value.get("path"), str)):
        return value
    return {**value, "path": str(Place.depots.here(Path(value["path"])))}


def _compute(order: Facts, folder: Path, partial: Path, held: int, hearing: process.Hearing) -> Facts:
    settings = Place.settings
    with ExitStack() as stack:
        lease = None
        if order["resource"] == "gpu":
            lease = stack.enter_context(
                leased(
                    settings.data / "gpus",
                    order["memory_mb"],
                    lambda text: hearing.line(text, INFO),
                    hearing.cancelled,
                    settings.nvidia_smi,
                )
            )
        asked = {
            "kind": order["kind"],
            "parameters": order["parameters"],
            "inputs": {port: _here(value) for port, value in order["inputs"].items()},
            "folder": str(folder.absolute()),
            "partial": str(partial.absolute()),
            "objects": str(settings.objects_folder.absolute()),
            "registry": str(settings.registry_folder.absolute()),
            "plugins": settings.steps,
            "device": "cuda" if lease else "cpu",
            # On a GPU the limit is the GPU's memory, which the lease has asked for.
            "memory_mb": None if lease else order["memory_mb"],
        }
        handed = [held, *([lease.held] if lease else [])]
        place = settings.data / "running" / folder.name
        watched = replace(hearing, over=lambda: lease.over) if lease else hearing
        return process.run(asked, place, handed, lease.env if lease else {}, watched)
