"""Verbs that train: `train`, `evaluate`, `retrain`, `adapters`."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rlhf.recipe import Recipe

app = typer.Typer(no_args_is_help=True)
adapters = typer.Typer(
    no_args_is_help=True, help="Versions of adapters, what they were made of, what is live."
)
app.add_typer(adapters, name="adapters")

STARTER = Path(__file__).parent / "starter" / "model"
ENVIRONMENT = {
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "GOMP_SPINCOUNT": "0",
    "MALLOC_MMAP_THRESHOLD_": "4000000000",
    "MALLOC_TRIM_THRESHOLD_": "8000000000",
}
"""Read once, at the start of the process: no hub, and the allocator that trains fastest on shared cores."""

RecipeOption = Annotated[Path | None, typer.Option("--recipe", help="YAML over recipes/dpo.yaml.")]
Out = Annotated[Path, typer.Option("--out", help="Folder of the result; the same command goes on there.")]
Base = Annotated[Path, typer.Option("--base", help="transformers folder of the base model.")]
Url = Annotated[str, typer.Option("--url", help="llm_server's API, ending in /v1.")]
Key = Annotated[str, typer.Option("--key", envvar="LLM_ADMIN_KEY", help="A key with the scope admin.")]
Name = Annotated[str, typer.Option("--name", help="What the adapter is called in registry and server.")]
LOCAL = "http://127.0.0.1:8000/v1"


@app.command()
def train(
    recipe: Annotated[str, typer.Argument(help="A YAML file, or a method by name: its own recipe.")],
    data: Annotated[Path, typer.Option(help="Folder with train.jsonl and held_out.jsonl.", exists=True)],
    out: Out,
    base: Annotated[Path | None, typer.Option(help="Folder of the base model; each method has one.")] = None,
    adapter: Annotated[Path | None, typer.Option(help="PEFT folder to go on from.")] = None,
) -> None:
    """Train by the method that the recipe names. Killed, the same command goes on from the last checkpoint.

    Beside the result OUT holds trained.json (figures, versions, hashes of the data), recipe.yaml as it was
    resolved, and curves.png.

    Example: [bold]python -m rlhf train dpo --data data/dataset --out data/run[/]
    """
    settle()
    from rlhf.methods import read_recipe
    from rlhf.methods import train as run_training

    trained = run_training(read_recipe(recipe), data, out, base, adapter, typer.echo)
    typer.echo(f"{trained.digest}  {trained.steps} steps, {trained.seconds} s  {out / trained.result}")
    typer.echo(f"held out: {trained.held_out}")


@app.command()
def evaluate(
    dataset: Annotated[Path, typer.Argument(help="Folder with held_out.jsonl.", exists=True)],
    current: Annotated[str, typer.Option(help="Model id that is served now.")],
    candidate: Annotated[str, typer.Option(help="Model id to compare with it, such as base:name@canary.")],
    url: Url = LOCAL,
    key: Key = "",
    recipe: RecipeOption = None,
    out: Annotated[Path, typer.Option(help="File of what was seen.")] = Path("evaluation.json"),
) -> None:
    """Compare two models of a server on held-out prompts and tool calls.

    Example: [bold]python -m rlhf evaluate data/dataset --current starter --candidate starter:polite[/]
    """
    settle()
    from rlhf.evaluate import Sides, judged
    from rlhf.evaluate import evaluate as compare
    from rlhf.judging import judge_of
    from rlhf.pairs import read_rows
    from rlhf.registry import write
    from rlhf.serving import Server

    plan, server = _recipe(recipe).evaluate, Server(url, key)
    rows = read_rows(dataset / "held_out.jsonl")
    judge = judge_of(plan, server, STARTER, dataset)
    found = judged(
        compare(server, Sides(server.base(), current, candidate), rows, plan, typer.echo), judge, rows
    )
    write(out, found.as_json())
    typer.echo(f"judged by {found.judge}; kept: {found.kept}  length: {found.length_ratio}")
    for suite, sides in found.suites.items():
        typer.echo(f"{suite}: {sides}")


@app.command()
def retrain(
    out: Out,
    pairs: Annotated[Path | None, typer.Option(help="JSON lines of preferences.", exists=True)] = None,
    planted: Annotated[
        int, typer.Option(help="Without --pairs: plant so many pairs of `always cite the source first`.")
    ] = 200,
    url: Url = LOCAL,
    key: Key = "",
    name: Name = "preferred",
    recipe: RecipeOption = None,
    base: Base = STARTER,
    from_live: Annotated[bool, typer.Option("--from-live", help="Go on from the live adapter.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Decide, and deploy nothing.")] = False,
    rows_megabytes: Annotated[
        int | None, typer.Option(help="Most that is read of --pairs; by default RLHF_ROWS_MEGABYTES.", min=1)
    ] = None,
) -> None:
    """Dataset, training, evaluation, gate and deployment in one go; what is done already is not done again.

    The server has to be allowed to read OUT/adapters: start it with LLM_ADAPTER_FOLDERS=OUT/adapters.
    Exit code 1 if the adapter is not promoted.

    Example: [bold]python -m rlhf retrain --planted 200 --key $LLM_ADMIN_KEY --out data/planted[/]
    """
    settle()
    from rich.console import Console
    from rich.table import Table

    from rlhf.retrain import Order, Retraining
    from rlhf.serving import Server
    from rlhf.settings import Settings

    changes: dict[str, Any] = PLANTED if pairs is None else {}
    most = rows_megabytes or Settings.from_environment().rows_megabytes
    order = Order(name, out, _recipe(recipe, **changes), pairs, planted, base, from_live, dry_run, most)
    content = Retraining(order, Server(url, key), typer.echo).run()
    shown = Table("step", "seconds", "", "result")
    for step in content["steps"]:
        shown.add_row(*map(str, step))
    console = Console()
    console.print(shown)
    for line in content["decision"]["reasons"]:
        console.print(f"- {line}", markup=False)
    console.print(
        f"{content['decision']['verdict']} in {content['seconds']} s: {out / 'report.html'}", markup=False
    )
    if content["deployed"]:
        console.print(f"`loopyard models use {content['deployed']['model']}` lets chats use it", markup=False)
    raise typer.Exit(0 if content["decision"]["verdict"] == "promote" else 1)


PLANTED: dict[str, Any] = {
    "data": {"held_out": 0.33},
    "train": {"epochs": 1.6, "learning_rate": 7.0e-4},
    "lora": {"keep": 0.85},
    "replay": {"batch": 4, "weight": 4.0},
    "evaluate": {"judge": "cite_first"},
    "gate": {"keeps": 0.8},
}
"""What the planted preference is judged by. It teaches a form, so it goes slower and rehearses more than a
preference of people, which teaches what to say.
"""

RootArgument = Annotated[Path, typer.Argument(help="OUT of `retrain`.", exists=True)]


@adapters.command("list")
def list_adapters(root: RootArgument) -> None:
    """Every version: what it was made of, which alias means it."""
    from rich.console import Console
    from rich.table import Table

    from rlhf.registry import Registry

    registry = Registry(root)
    shown = Table("name", "version", "is", "dataset", "parent", "made")
    for name in registry.names():
        meant = {digest: alias for alias, digest in registry.aliases(name).items()}
        for version in registry.versions(name):
            line = version.lineage()
            parent = str(line["parent"] or "")[7:19]
            made = str(line["created_at"])[:19]
            cells = (name, version.short, meant.get(version.digest, ""), str(line["dataset_digest"])[:19])
            shown.add_row(*cells, parent, made)
    Console().print(shown)


@adapters.command()
def rollback(root: RootArgument, name: Name, url: Url = LOCAL, key: Key = "") -> None:
    """Go back to the version that was live before, in one call."""
    from rlhf.deploy import rollback as go_back
    from rlhf.registry import Registry
    from rlhf.serving import Server

    version = go_back(Server(url, key), Registry(root), name)
    typer.echo(f"{name} is {version.short} again")


@adapters.command()
def delete(root: RootArgument, name: Name, version: str) -> None:
    """Delete a version that is neither live nor previous."""
    from rlhf.registry import Registry

    gone = Registry(root).delete(name, version)
    typer.echo(f"{name} {gone.short} is deleted")


@adapters.command("of-user")
def of_user(root: RootArgument, user: str) -> None:
    """Which versions saw something of a user? Those trained on from them count too."""
    from rlhf.registry import Registry

    for version in Registry(root).of_user(user):
        typer.echo(f"{version.name} {version.short}")


@adapters.command()
def traces(root: RootArgument, name: Name, version: str = "live") -> None:
    """Which traces made a version?"""
    from rlhf.registry import Registry

    registry = Registry(root)
    for trace in registry.traces(registry.find(name, version)):
        typer.echo(f"{trace['trace_id']} {trace['generation_id']} {trace['model']}")


def settle() -> None:
    """Begin again with the environment that training needs, where it is not there."""
    if any(os.environ.get(name) is None for name in ENVIRONMENT):
        again = [sys.executable, "-m", "rlhf", *sys.argv[1:]]
        os.execve(sys.executable, again, {**ENVIRONMENT, **os.environ})  # noqa: S606 (our own command)


def _recipe(path: Path | None, **changes: Any) -> Recipe:
    from rlhf.recipe import load_recipe

    return load_recipe(path, **changes)
