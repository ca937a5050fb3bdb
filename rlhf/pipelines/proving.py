"""Kinds of steps that prove an adapter against a running server and let it be served."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlhf.pipelines.kinds import Kind, Parameters, Work

if TYPE_CHECKING:
    from rlhf.recipe import Common, Recipe
    from rlhf.registry import Registry, Version
    from rlhf.serving import Server

VERSION, DATASET, EVALUATION, DECISION = "version", "dataset", "evaluation", "decision"
TRAINED, DEPLOYMENT, REPORT = "trained", "deployment", "report"


class Proof(Parameters):
    """Which server, by which recipe."""

    url: str = ""
    """llm_server's API, ending in /v1; by default the worker's RLHF_SERVER_URL."""
    recipe: str | dict[str, Any] = "dpo"
    """Its blocks `evaluate`, `gate` and `deploy` are used."""


def recipe_of(source: str | dict[str, Any], **changes: Any) -> Common:
    """A recipe by method, file or content. RecipeError."""
    from rlhf.methods import known, read_recipe
    from rlhf.recipe import resolved

    if isinstance(source, str):
        return read_recipe(source, **changes)
    method = str(source.get("method", "dpo"))
    return resolved(known(method).recipe, method, None, {**source, **changes})


def plan_of(source: str | dict[str, Any]) -> Recipe:
    """A recipe with the blocks that prove; one of a method without them has those of DPO."""
    from rlhf.recipe import Recipe, load_recipe

    found = recipe_of(source)
    return found if isinstance(found, Recipe) else load_recipe()


class Judged(Proof):
    """By which recipe it is judged."""

    base: str = ""
    """transformers folder of the base; the starter by default."""


class Evaluated(Judged):
    """What is compared."""

    name: str
    """The adapter's; what it means in the server now is what the candidate is compared with."""


def evaluate(work: Work) -> dict[str, Any]:
    """Candidate beside what is live, on the held-out rows."""
    from rlhf.deploy import base_of, loaded
    from rlhf.evaluate import CANDIDATE, CURRENT, Sides
    from rlhf.evaluate import evaluate as compare
    from rlhf.pairs import read_rows

    given: Evaluated = work.parameters
    plan, version = plan_of(given.recipe).evaluate, _version(work)
    rows = read_rows(work.path(DATASET) / "held_out.jsonl")
    with server_at(given.url) as server:
        was, base = server.stable(given.name), server.base()
        current = base + (f":{given.name}@{was}" if was else "")
        folders = {CURRENT: work.versions.find(given.name, was).folder} if was else {}
        with loaded(server, version) as candidate:
            folder = base_of(version, server.served(), Path(given.base) if given.base else None)
            sides = Sides(base, current, candidate, {**folders, CANDIDATE: version.folder}, folder)
            found = compare(server, sides, rows, plan, work.tell)
    return {EVALUATION: {**found.as_json(), "against": was}}


def judge(work: Work) -> dict[str, Any]:
    """The answers, judged by whom the recipe names. What people are to judge becomes a file."""
    from rlhf.evaluate import Evaluation, judged
    from rlhf.judge_people import write_pairs
    from rlhf.judging import PEOPLE, judge_of
    from rlhf.methods import starter
    from rlhf.pairs import read_rows

    given: Judged = work.parameters
    plan, content = plan_of(given.recipe).evaluate, dict(work.inputs[EVALUATION])
    against = content.pop("against")
    found, rows = Evaluation(**content), read_rows(work.path(DATASET) / "held_out.jsonl")
    if plan.judge == PEOPLE and not plan.judged:
        count = write_pairs(found.answers, rows, work.folder / "to_judge.jsonl")
        work.tell(f"{count} pairs to judge are in {work.folder / 'to_judge.jsonl'}")
    with server_at(given.url) as server:
        base = Path(given.base) if given.base else starter()
        found = judged(found, judge_of(plan, server, base, work.path(DATASET)), rows)
    work.tell(f"{len(found.judgements)} pairs, by {found.judge}")
    return {EVALUATION: {**found.as_json(), "against": against}}


def _judgements(given: Judged) -> str | None:
    """What people have said so far."""
    from rlhf.registry import file_sha256

    said = plan_of(given.recipe).evaluate.judged
    return file_sha256(Path(said)) if said and Path(said).is_file() else None


def _live(given: Evaluated) -> str | None:
    with server_at(given.url) as server:
        return server.stable(given.name)


def gate(work: Work) -> dict[str, Any]:
    """Promote, reject, or not enough data."""
    from rlhf.evaluate import Evaluation, checks
    from rlhf.gate import decide

    plan = plan_of(work.parameters.recipe).gate
    content = {key: value for key, value in work.inputs[EVALUATION].items() if key != "against"}
    found = Evaluation(**content)
    decision = decide(
        found.judged(),
        checks(found, work.inputs[TRAINED], plan),
        minimum=plan.minimum,
        confidence=plan.confidence,
    )
    for reason in decision.reasons:
        work.tell(reason)
    work.tell(decision.verdict)
    return {DECISION: asdict(decision)}


class Deploying(Proof):
    """Into which server, and for whom."""

    chats: bool = True
    """Let a gateway's chats use it from then on, where the server is the worker's own."""


class Deployed(Deploying):
    """After which comparison."""

    base: str = ""
    """transformers folder of the base; the starter by default."""
    dry: bool = False
    """Decide, and deploy nothing."""


def deploy(work: Work) -> dict[str, Any]:
    """Promote a version that the gate lets through; what was live stays otherwise."""
    from rlhf.deploy import deploy as promote
    from rlhf.methods import starter
    from rlhf.pairs import read_rows

    given: Deployed = work.parameters
    verdict = work.inputs[DECISION]["verdict"]
    if verdict != "promote" or given.dry:
        work.tell(
            f"{verdict}: what is live stays" if verdict != "promote" else "a trial: nothing is deployed"
        )
        return {DEPLOYMENT: None}
    rows = read_rows(work.path(DATASET) / "held_out.jsonl")
    registry = work.versions
    with server_at(given.url) as server:
        done = promote(
            server,
            registry,
            _version(work),
            Path(given.base) if given.base else starter(),
            rows,
            plan_of(given.recipe).deploy,
            work.tell,
        )
    _let_chats_use(registry, done.model, given, work)
    return {DEPLOYMENT: asdict(done)}


class Chosen(Deploying):
    """Which version of the registry, by a person's choice."""

    name: str
    digest: str
    """`sha256:` and digits."""


def deploy_version(work: Work) -> dict[str, Any]:
    """Promote a version without asking the gate, after the same comparison with PEFT; on rows of its own
    dataset where that is still there. Any failure leaves the name as it was.
    """
    from rlhf.deploy import base_of
    from rlhf.deploy import deploy as promote
    from rlhf.examples import dataset_of, examples
    from rlhf.settings import Settings

    given: Chosen = work.parameters
    plan, registry = plan_of(given.recipe).deploy, work.versions
    version = registry.find(given.name, given.digest)
    work.depots.datasets.bring(dataset_of(version, work.objects))
    rows = examples(version, work.objects, plan.prompts)
    with server_at(given.url) as server:
        base = base_of(version, server.served(), Settings.from_environment().server_base)
        done = promote(server, registry, version, base, rows, plan, work.tell)
    _let_chats_use(registry, done.model, given, work)
    return {DEPLOYMENT: asdict(done)}


def _let_chats_use(registry: Registry, model: str, given: Deploying, work: Work) -> None:
    """Choose what was deployed, unless it is not wanted or on a server that the gateway does not ask."""
    from rlhf.settings import Settings

    own = given.url.rstrip("/") in ("", Settings.from_environment().server_url.rstrip("/"))
    if given.chats and own:
        registry.choose(model)
        work.tell(f"{model} is chosen for the gateway's chats")
    else:
        work.tell(f"chats go on as they were; `loopyard models use {model}` lets them use it")


class Reported(Parameters):
    """Where the report lies."""

    beside: bool = True
    """Beside the version too, in the place of the one that is there."""


def report(work: Work) -> dict[str, Any]:
    """report.json and report.html, as an output and beside the version."""
    from rlhf.report import write_report

    version, decision = _version(work), work.inputs[DECISION]
    content = {
        "title": f"{version.name} {version.short}",
        "adapter": {"name": version.name, "digest": version.digest},
        "recipe": work.inputs[TRAINED]["recipe"],
        "decision": decision,
        "evaluation": {k: v for k, v in work.inputs[EVALUATION].items() if k != "against"},
        "trained": {"seconds": 0, **work.inputs[TRAINED]},
        "deployed": work.inputs.get(DEPLOYMENT),
        "steps": [],
        "seconds": 0,
    }
    write_report(work.folder, content)
    if work.parameters.beside:
        write_report(version.folder, content)
        work.versions.changed(version)
    return {REPORT: {"path": "report.html"}}


@contextmanager
def server_at(url: str) -> Iterator[Server]:
    """The server, with the worker's own key: a specification is shown to people, and holds no secret."""
    from rlhf.serving import Server
    from rlhf.settings import Settings

    settings = Settings.from_environment()
    server = Server(url or settings.server_url, settings.server_key.get_secret_value())
    try:
        yield server
    finally:
        server.close()


def _version(work: Work) -> Version:
    from rlhf.registry import Version

    value = work.inputs[VERSION]
    return Version(value["name"], value["digest"], Path(value["path"]))


PROVING: tuple[Kind, ...] = (
    Kind(
        "evaluate",
        evaluate,
        Evaluated,
        {VERSION: VERSION, DATASET: DATASET},
        outputs={EVALUATION: EVALUATION},
        depends=_live,
    ),
    Kind(
        "judge",
        judge,
        Judged,
        {EVALUATION: EVALUATION, DATASET: DATASET},
        outputs={EVALUATION: EVALUATION},
        depends=_judgements,
    ),
    Kind("gate", gate, Proof, {EVALUATION: EVALUATION, TRAINED: TRAINED}, outputs={DECISION: DECISION}),
    Kind(
        "deploy",
        deploy,
        Deployed,
        {VERSION: VERSION, DECISION: DECISION, DATASET: DATASET},
        outputs={DEPLOYMENT: DEPLOYMENT},
        cached=False,
    ),
    Kind("deploy-version", deploy_version, Chosen, outputs={DEPLOYMENT: DEPLOYMENT}, cached=False),
    Kind(
        "report",
        report,
        Reported,
        inputs={
            VERSION: VERSION,
            DECISION: DECISION,
            EVALUATION: EVALUATION,
            TRAINED: TRAINED,
            DEPLOYMENT: DEPLOYMENT,
        },
        optional=frozenset({DEPLOYMENT}),
        outputs={REPORT: REPORT},
        cached=False,
    ),
)
