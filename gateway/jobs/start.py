"""What a caller asks the worker to do, made into the arguments of a job."""

from __future__ import annotations

import asyncio
from typing import Any

from gateway.datasets.service import Datasets
from gateway.errors import BadRequest, Forbidden
from gateway.jobs.schemas import CheckIn, JobIn, PipelineIn, TrainIn
from gateway.jobs.service import JobService
from gateway.policy import Caller, Scope
from gateway.projects.store import Project
from rlhf.errors import RecipeError
from rlhf.jobs import Kind
from rlhf.methods import known, read_recipe

HARMLESS = ("starter", "none")
"""Rows to rehearse that are no file of the server."""


async def start(jobs: JobService, datasets: Datasets, caller: Caller, project: Project, wanted: JobIn) -> str:
    """The id of the new job. Raises BadRequest, Forbidden, NotFound, Conflict."""
    asked = wanted.model_dump(mode="json", exclude={"priority", "resource", "title"})
    kind, arguments, title = await _arguments(jobs, datasets, caller, project, wanted)
    return await jobs.ask(
        caller,
        project,
        kind,
        arguments,
        wanted.title or title,
        asked=asked,
        priority=wanted.priority,
        resource=wanted.resource,
    )


async def _arguments(
    jobs: JobService, datasets: Datasets, caller: Caller, project: Project, wanted: JobIn
) -> tuple[Kind, list[Any], str]:
    if isinstance(wanted, TrainIn):
        recipe = await asyncio.to_thread(_recipe, caller, wanted)
        row = await datasets.ready(project, wanted.dataset)
        if row.kind == "file" and row.format != "jsonl":
            raise BadRequest(
                f"{row.name!r} is {row.format}; only JSON lines are trained on.", param="dataset"
            )
        folder = datasets.files.folder(row)
        return Kind.TRAIN, [recipe, str(folder)], f"{wanted.method} on {row.name}"
    if not caller.has(Scope.ADMIN):
        raise Forbidden(f"Jobs of the kind {wanted.kind!r} may read any file of the server: for admins only.")
    if isinstance(wanted, PipelineIn):
        _plausible(wanted)
        return Kind.PIPELINE, [wanted.spec, wanted.parameters], str(wanted.spec.get("name", "pipeline"))
    return Kind.CHECK, _checked(jobs, wanted), "check the models"


def _checked(jobs: JobService, _: CheckIn) -> list[str]:
    models = jobs.models.absolute()
    return [str(models), str(models.parent / "jobs" / "models.json")]


def _plausible(wanted: PipelineIn) -> None:
    """What the record needs to show it; the worker looks at the rest and says what is wrong by step."""
    steps = wanted.spec.get("steps")
    if not isinstance(wanted.spec.get("name"), str) or not isinstance(steps, dict) or not steps:
        raise BadRequest("A pipeline has a name and steps: a mapping of names to steps.", param="spec")
    if wrong := [name for name, step in steps.items() if not isinstance(step, dict) or "kind" not in step]:
        raise BadRequest(f"These steps have no kind: {', '.join(wrong)}.", param="spec")


def _recipe(caller: Caller, wanted: TrainIn) -> dict[str, Any]:
    """The resolved recipe."""
    changes = {name: value for name, value in wanted.recipe.items() if name != "method"}
    try:
        known(wanted.method)
        recipe = read_recipe(wanted.method, **changes)
    except RecipeError as error:
        raise BadRequest(str(error), param="recipe") from error
    plain: dict[str, Any] = recipe.model_dump(mode="json")
    rehearsed = plain.get("replay", {}).get("rows", "none")
    if rehearsed not in HARMLESS and not caller.has(Scope.ADMIN):
        raise Forbidden(
            f"replay.rows may be {' or '.join(HARMLESS)}; a file of the server is for admins only."
        )
    return plain
