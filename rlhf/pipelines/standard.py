"""The kinds of steps that every worker has. What computes is imported when a step runs."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from rlhf.data.job import KEEPING
from rlhf.data.kinds import Name
from rlhf.data.limit import refuse_large
from rlhf.data.steps import Declared
from rlhf.errors import DatasetError, TrainingError
from rlhf.jobs import APPROVAL
from rlhf.objects.settings import Settings as ObjectSettings
from rlhf.objects.source import fetch, is_address, stamp
from rlhf.pipelines.comparing import COMPARING
from rlhf.pipelines.gathering import GATHERING, people_of
from rlhf.pipelines.kinds import Kind, Parameters, Work
from rlhf.pipelines.proving import PROVING, recipe_of
from rlhf.products import ADAPTER, PRODUCTS, use
from rlhf.registry import NAME, file_sha256, weights_of

ROWS, DATASET, TRAINED = "rows", "dataset", "trained"
PACKAGES = ("torch", "transformers", "trl", "peft")


class Approval(Parameters):
    """What a person is asked."""

    question: str = "may it go on?"
    needed: bool = True
    """False: it goes on without asking."""
    days: Annotated[float, Field(gt=0, le=365)] = 30.0
    """How long an answer is waited for."""


def approval(work: Work) -> dict[str, Any]:
    """Never run: the worker waits without a process."""
    raise AssertionError("a worker waits for people itself")


class Collect(Parameters):
    """Where preferences come from."""

    rows: str = ""
    """JSON lines, CSV or Parquet, a file or s3://BUCKET/KEY; empty: preferences of `project`."""
    project: str = ""
    """Of the gateway: what was judged there or in Label Studio, thumbs and corrections; empty: `planted`."""
    kind: Literal["preference", "kto"] = "preference"
    """Of a project: pairs, or answers with a thumb each, alone or not, for `recipe: kto`."""
    planted: Annotated[int, Field(ge=1)] = 200


def collect(work: Work) -> dict[str, Any]:
    """Take a copy of the rows as they are now, so that what follows depends on that and on nothing else."""
    given: Collect = work.parameters
    if given.project and not given.rows:
        (work.folder / "rows.jsonl").write_bytes(_said_in(given))
        return {ROWS: {"path": "rows.jsonl"}}
    if not given.rows:
        from rlhf.preference import planted

        lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in planted(given.planted)]
        (work.folder / "rows.jsonl").write_text("".join(lines), encoding="utf-8")
        return {ROWS: {"path": "rows.jsonl"}}
    source = Path(given.rows)
    name = f"rows{source.suffix or '.jsonl'}"
    if is_address(given.rows):
        fetch(given.rows, work.folder / name, ObjectSettings.from_environment(), _megabytes() << 20)
        return {ROWS: {"path": name}}
    try:
        shutil.copyfile(source, work.folder / name)
    except FileNotFoundError as error:
        raise DatasetError(f"there are no rows in {source.absolute()}; set the parameter `rows`") from error
    return {ROWS: {"path": name}}


def _said_in(given: Collect) -> bytes:
    with people_of(given.project) as people:
        found = people.thumbs() if given.kind == "kto" else people.preferences()
    if not found.strip() and given.kind == "kto":
        raise DatasetError(
            f"nobody has pressed a thumb in the project {given.project} yet, or its chats were not looked at "
            "since: press thumbs, let `loopyard annotate collect` read them, and resume the job"
        )
    if not found.strip():
        raise DatasetError(
            f"nobody has preferred anything in the project {given.project} yet: press thumbs, correct "
            "answers or judge pairs (`loopyard annotate collect` makes them), and resume the job"
        )
    return found


def _content_of_rows(given: Collect) -> str | None:
    """DatasetError where there are more than may be read: nobody waits for a hash of what is refused."""
    if given.project and not given.rows:
        return hashlib.sha256(_said_in(given)).hexdigest()
    if is_address(given.rows):
        return stamp(given.rows, ObjectSettings.from_environment())
    source = Path(given.rows)
    if not given.rows or not source.is_file():
        return None
    refuse_large([source], _megabytes())
    return file_sha256(source)


def _megabytes() -> int:
    from rlhf.settings import Settings

    return Settings.from_environment().rows_megabytes


class Build(Parameters):
    """How rows become a dataset."""

    held_out: Annotated[float, Field(gt=0, lt=1)] = 0.2
    seed: int = 0
    redact_pii: bool = False
    users_may_cross: bool = False
    kind: Name | None = None
    """preference, kto, sft, triplet or label; otherwise their columns say it."""
    steps: Declared = Field(default_factory=list)
    """What is done to rows first, such as `[{"clean": {}}, {"limit": {"tokens": 512}}]`."""


def _redacting(given: Build) -> dict[str, Any] | None:
    """What finds personal data, where they are replaced: settings of the worker, not of the step."""
    from rlhf.data.pii import configured

    return configured().facts if given.redact_pii else None


def dataset(work: Work) -> dict[str, Any]:
    """A dataset below OBJECTS/datasets, named by its digest."""
    from rlhf.data.build import Plan, build_below
    from rlhf.data.folder import refuse_withdrawn
    from rlhf.data.split import KEYS
    from rlhf.data.steps import steps_of

    given: Build = work.parameters
    keys = tuple(key for key in KEYS if not (given.users_may_cross and key == "user"))
    steps = steps_of(given.steps)
    plan = Plan(given.held_out, given.seed, given.redact_pii, keys, given.kind, steps)
    root = work.objects / "datasets"
    manifest, _ = build_below([work.path(ROWS)], root, plan, _megabytes())
    if work.depots.datasets.keep(built := root / manifest["digest"][:12]):
        refuse_withdrawn(built)
    counts = manifest["rows"]
    work.tell(f"{counts['train']} to train on, {counts['held_out']} held out")
    return {DATASET: {"path": str(root / manifest["digest"][:12]), "digest": manifest["digest"]}}


def validate(work: Work) -> dict[str, Any]:
    """Make sure that nothing that is held out is trained on; the same dataset."""
    from rlhf.data.folder import verify_split

    found = verify_split(work.path(DATASET))
    work.tell(f"{len(found.train)} and {len(found.held_out)} rows share no prompt, session or user")
    return {DATASET: dict(work.inputs[DATASET])}


class Train(Parameters):
    """How an adapter is trained."""

    recipe: str | dict[str, Any] = "dpo"
    """A method, a file, or what differs from a method's own recipe."""
    base: str = ""
    """transformers folder; the starter by default."""


def train(work: Work) -> dict[str, Any]:
    """Train by the recipe; goes on from its last checkpoint after a kill."""
    from dataclasses import asdict

    from rlhf.methods import train as run_training

    given: Train = work.parameters
    recipe = recipe_of(given.recipe, device=_device(given.recipe, work))
    out, base = work.folder / "run", Path(given.base) if given.base else None
    parent = work.path("parent") if work.inputs.get("parent") else None
    if parent is not None and not parent.is_dir():
        raise TrainingError(f"the adapter to go on from, {parent.name}, was deleted: choose another version")
    trained = run_training(recipe, work.path(DATASET), out, base, parent, work.tell)
    # How long it took is no part of what it is.
    facts = {key: value for key, value in asdict(trained).items() if key != "seconds"}
    return {ADAPTER: {"path": f"run/{trained.result}", "digest": trained.digest}, TRAINED: facts}


def _device(recipe: str | dict[str, Any], work: Work) -> str:
    """That of the recipe where it names one and the step may use it, else that of the step."""
    from rlhf.methods import METHODS
    from rlhf.recipe import read_yaml

    plain = recipe if isinstance(recipe, dict) else {} if recipe in METHODS else read_yaml(Path(recipe))
    named = plain.get("device")
    if named == "cuda" and work.device == "cpu":
        work.tell("the recipe asks for `device: cuda`, and this step has no GPU: it runs on the CPU")
    elif named == "cpu" and work.device == "cuda":
        work.tell("the recipe asks for `device: cpu`: the GPU is not used")
        return "cpu"
    return work.device


def _base_and_recipe(given: Train) -> list[Any]:
    from rlhf.methods import known

    recipe = recipe_of(given.recipe)
    return [recipe.model_dump(mode="json"), weights_of(Path(given.base or known(recipe.method).base()))]


class Parent(Parameters):
    """Which adapter training goes on from."""

    name: str
    needed: bool = True
    """False: a new one is begun."""


def parent(work: Work) -> dict[str, Any]:
    """The version of a name that is live in the registry; none where there is no such version."""
    from rlhf.registry import LIVE

    given, registry = work.parameters, work.versions
    digest = registry.aliases(given.name).get(LIVE) if given.needed else None
    if digest is None:
        work.tell(f"{given.name} has no live version: a new adapter" if given.needed else "a new adapter")
        return {"version": None}
    version = registry.find(given.name, digest)
    work.tell(f"goes on from {given.name} {version.short}")
    return {"version": {"path": str(version.folder), "digest": digest, "name": given.name}}


class Register(Parameters):
    """What an adapter is called."""

    name: str = Field(pattern=f"^{NAME}$")
    project: str = ""
    """Where it was trained; empty: by the operator."""
    bound: bool = False
    """Only to a name that is the project's alone."""


def register(work: Work) -> dict[str, Any]:
    """Take what was trained into the registry with what it was made of; an adapter as a candidate."""
    from rlhf.data.folder import refuse_withdrawn
    from rlhf.pairs import read_rows
    from rlhf.registry import LIVE

    given: Register = work.parameters
    trained, registry = work.inputs[TRAINED], work.versions
    lineage = {
        "base": trained["base"],
        "dataset_digest": _dataset_digest(work),
        "recipe": trained["recipe"],
        "code": trained["code"],
        "metrics": trained["held_out"],
        "parent": work.inputs["parent"]["digest"] if work.inputs.get("parent") else None,
        "project": given.project or None,
    }
    refuse_withdrawn(work.path(DATASET))
    rows = read_rows(work.path(DATASET) / "train.jsonl")
    kind = str(trained["result"])
    registry.admit(given.name, kind, given.project if given.bound else "")
    version = registry.add(given.name, work.path(ADAPTER), lineage, rows, kind)
    if kind == ADAPTER and registry.aliases(given.name).get(LIVE) != version.digest:
        registry.propose(version)
    next_step = use(kind, version.name, version.short, version.content, trained["base"]["path"])
    work.tell(f"{PRODUCTS[kind].called} is registered as {version.name} {version.short}; next: {next_step}")
    found = {"digest": version.digest, "name": version.name, "kind": kind, "next": next_step}
    return {"version": {"path": str(version.folder), **found}}


def _dataset_digest(work: Work) -> str:
    """What the dataset is called in its manifest, or as an uploaded file: its rows are found by it."""
    from rlhf.data.folder import manifest_digest
    from rlhf.data.withdraw import UPLOADED

    folder = work.path(DATASET)
    try:
        return manifest_digest(folder)
    except (OSError, DatasetError):
        return folder.name if UPLOADED.fullmatch(folder.name) else str(work.inputs[DATASET]["digest"])


KINDS: tuple[Kind, ...] = (
    Kind(APPROVAL, approval, Approval, outputs={"approval": "approval"}),
    Kind("collect", collect, Collect, outputs={ROWS: ROWS}, depends=_content_of_rows),
    *GATHERING,
    Kind("parent", parent, Parent, outputs={"version": "version"}, cached=False),
    Kind("dataset", dataset, Build, {ROWS: ROWS}, outputs={DATASET: DATASET}, depends=_redacting),
    Kind("validate", validate, inputs={DATASET: DATASET}, outputs={DATASET: DATASET}),
    Kind(
        "train",
        train,
        Train,
        {DATASET: DATASET, "parent": "version"},
        frozenset({"parent"}),
        {ADAPTER: ADAPTER, TRAINED: TRAINED},
        depends=_base_and_recipe,
        resumes=True,
        packages=PACKAGES,
    ),
    Kind(
        "register",
        register,
        Register,
        {ADAPTER: ADAPTER, DATASET: DATASET, TRAINED: TRAINED, "parent": "version"},
        frozenset({"parent"}),
        {"version": "version"},
        cached=False,
    ),
    *PROVING,
    *COMPARING,
    *KEEPING,
)
