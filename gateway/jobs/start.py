"""What a caller asks the worker to do, made into the arguments of a job."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gateway.datasets.service import Datasets
from gateway.errors import BadRequest, Forbidden
from gateway.jobs.comparison import EVALUATE, MODEL, REWARD, specification
from gateway.jobs.schemas import CheckIn, EvaluateIn, JobIn, PipelineIn, TrainIn
from gateway.jobs.service import JobService
from gateway.policy import Caller, Scope
from gateway.projects.store import Project
from rlhf.beginning import begin_with
from rlhf.errors import RecipeError, RegistryError, TrainingError
from rlhf.jobs import Kind, Resource
from rlhf.methods import known, read_recipe
from rlhf.products import derived_name, product_of, refusal
from rlhf.registry import Registry, Version

HARMLESS = ("starter", "none")
"""Rows to rehearse that are no file of the server."""
SPLIT = " split"
"""How `loopyard train` ends the name of a dataset that it splits."""


@dataclass(frozen=True)
class Starter:
    """What starting a job asks."""

    jobs: JobService
    datasets: Datasets
    registry: Registry


async def start(services: Starter, caller: Caller, project: Project, wanted: JobIn) -> str:
    """The id of the new job. Raises BadRequest, Forbidden, NotFound, Conflict."""
    asked = wanted.model_dump(mode="json", exclude={"priority", "resource", "title"})
    kind, arguments, title = await _arguments(services, caller, project, wanted)
    return await services.jobs.ask(
        caller,
        project,
        kind,
        arguments,
        wanted.title or title,
        EVALUATE if isinstance(wanted, EvaluateIn) else "",
        asked=asked,
        priority=wanted.priority,
        resource=_resource(wanted),
    )


async def _arguments(
    services: Starter, caller: Caller, project: Project, wanted: JobIn
) -> tuple[Kind, list[Any], str]:
    if isinstance(wanted, TrainIn):
        recipe = await asyncio.to_thread(_recipe, caller, wanted)
        row = await services.datasets.ready(project, wanted.dataset)
        if row.kind == "file" and row.format != "jsonl":
            raise BadRequest(
                f"{row.name!r} is {row.format}; only JSON lines are trained on.", param="dataset"
            )
        folder = services.datasets.files.folder(row)
        owner = "" if caller.has(Scope.ADMIN) else project.id
        begun = await asyncio.to_thread(_begun, services, owner, wanted, recipe)
        name = wanted.name or wanted.parent.partition("@")[0]
        name = name or derived_name(row.name.removesuffix(SPLIT), wanted.method)
        await asyncio.to_thread(_admit, services.registry, name, product_of(recipe), owner)
        if "device" not in wanted.recipe:
            del recipe["device"]  # the worker's to choose, by what it has
        beside = {"name": name, "project": project.id, "bound": bool(owner), "resource": _resource(wanted)}
        beside |= begun
        return Kind.TRAIN, [recipe, str(folder), beside], f"{wanted.method} on {row.name}"
    if isinstance(wanted, EvaluateIn):
        return await _evaluation(services, caller, project, wanted)
    if not caller.has(Scope.ADMIN):
        raise Forbidden(f"Jobs of the kind {wanted.kind!r} may read any file of the server: for admins only.")
    if isinstance(wanted, PipelineIn):
        _plausible(wanted)
        return Kind.PIPELINE, [wanted.spec, wanted.parameters], str(wanted.spec.get("name", "pipeline"))
    return Kind.CHECK, _checked(services.jobs, wanted), "check the models"


async def _evaluation(
    services: Starter, caller: Caller, project: Project, wanted: EvaluateIn
) -> tuple[Kind, list[Any], str]:
    row = await services.datasets.ready(project, wanted.dataset)
    if row.kind != "preference":
        raise BadRequest(
            f"{row.name!r} holds {row.kind} rows; adapters are compared on a dataset of preferences that was "
            "built, with rows that are held out.",
            param="dataset",
        )
    if wanted.judge in (MODEL, REWARD) and not wanted.judge_model:
        raise BadRequest(f"The judge {wanted.judge!r} needs `judge_model`.", param="judge_model")
    if wanted.judge == REWARD and not caller.has(Scope.ADMIN):
        raise Forbidden("The judge 'reward' is a folder of the server: for admins only.")
    version = await asyncio.to_thread(_adapter, services.registry, caller, project, wanted)
    content = specification(wanted, version.digest, services.datasets.files.folder(row))
    await services.jobs.awake()
    return Kind.PIPELINE, [content, {}], f"evaluate {version.name} {version.short} on {row.name}"


def _adapter(registry: Registry, caller: Caller, project: Project, wanted: EvaluateIn) -> Version:
    _theirs(registry, wanted.name, "" if caller.has(Scope.ADMIN) else project.id)
    try:
        version = registry.find(wanted.name, wanted.version)
    except RegistryError as error:
        raise BadRequest(str(error), param="version") from error
    if why := refusal(version.kind):
        raise BadRequest(f"{version.name!r} is {why}.", param="name")
    return version


def _resource(wanted: JobIn) -> Resource:
    """What a recipe says goes before what was asked for beside it."""
    named = wanted.recipe.get("device") if isinstance(wanted, TrainIn) else None
    by_device: dict[object, Resource] = {"cpu": "cpu", "cuda": "gpu"}
    return by_device.get(named, wanted.resource)


def _begun(services: Starter, owner: str, wanted: TrainIn, recipe: dict[str, Any]) -> dict[str, Any]:
    """What is begun with, as the job's arguments."""
    models = services.jobs.models.resolve()
    # A path that is not absolute is one of the prepared models; any other folder is the operator's to name.
    base = str((models / wanted.base).resolve()) if wanted.base else ""
    if base and owner and not Path(base).is_relative_to(models):
        raise Forbidden(f"`base` is a folder of {models.name}, by its name; another one is for admins only.")
    _theirs(services.registry, wanted.parent.partition("@")[0], owner)
    try:
        return begin_with(recipe, base, wanted.parent, services.registry).plain()
    except (RecipeError, RegistryError, TrainingError) as error:
        raise BadRequest(str(error), param="parent" if wanted.parent else "base") from error


def _admit(registry: Registry, name: str, kind: str, owner: str) -> None:
    _theirs(registry, name, owner)
    try:
        registry.admit(name, kind)
    except RegistryError as error:
        raise BadRequest(str(error), param="name") from error


def _theirs(registry: Registry, name: str, owner: str) -> None:
    try:
        registry.refuse_others(name, owner)
    except RegistryError as error:
        raise Forbidden(str(error)) from error


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
    fresh = wanted.spec.get("fresh") or []
    if not isinstance(fresh, list):
        raise BadRequest("`fresh` is a list of steps that are done again.", param="spec")
    if unknown := [str(name) for name in fresh if str(name) not in steps]:
        names = ", ".join(map(str, steps))
        raise BadRequest(f"`fresh` names no step {', '.join(unknown)}. Steps: {names}.", param="spec")


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
