"""`python -m rlhf pipeline check | kinds | run | schedule | schedules`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rlhf import cli_jobs

if TYPE_CHECKING:
    from rlhf.pipelines.document import Lines
    from rlhf.settings import Settings

app = typer.Typer(
    no_args_is_help=True,
    help="Several steps as one job: run in parallel where they can be, repeated where that helps, not done "
    "again where nothing has changed.\n\nrlhf/recipes/retrain.yaml is one.",
)
FileArgument = Annotated[
    Path, typer.Argument(help="YAML of a pipeline, the name of one of ours, or - for standard input.")
]
Set = Annotated[list[str], typer.Option("--set", help="PARAMETER=VALUE; the value is YAML.")]


@app.command()
def check(
    file: FileArgument,
    set_: Set = [],  # noqa: B006 - typer's way
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")] = False,
) -> None:
    """Say what is wrong with a pipeline, or in which order its steps run."""
    planned = _planned(file, set_, _settings())[2]
    if as_json:
        import json

        steps = [
            {"name": s.name, "kind": s.kind.name, "resource": s.resource, "after": sorted(s.before)}
            for s in planned
        ]
        typer.echo(json.dumps({"steps": steps}))
        return
    for step in planned:
        before = f"  after {', '.join(sorted(step.before))}" if step.before else ""
        typer.echo(f"{step.name}  {step.kind.name}  {step.resource}{before}")


@app.command()
def kinds() -> None:
    """The kinds of steps that there are, with what they take and give."""
    from rlhf.pipelines.kinds import load

    known = load(_settings().steps)
    for name in known:
        kind = known[name]
        takes = ", ".join(f"{p}: {t}{'?' if p in kind.optional else ''}" for p, t in kind.inputs.items())
        gives = ", ".join(f"{p}: {t}" for p, t in kind.outputs.items())
        typer.echo(f"{name}({takes}) -> {gives}  {', '.join(kind.parameters.model_fields)}")


@app.command()
def run(
    file: FileArgument,
    set_: Set = [],  # noqa: B006 - typer's way
    watch: Annotated[bool, typer.Option("--watch", help="Print its log until it has ended.")] = False,
    fresh: Annotated[
        list[str],
        typer.Option("--from", help="Do this step again although its output is there; what follows it too."),
    ] = [],  # noqa: B006 - typer's way
    priority: Annotated[int, typer.Option(help="1 goes first.")] = 100,
) -> None:
    """Ask the worker to run a pipeline; prints the job's id.

    With --watch the exit code is 1 if it is not done.

    Example: [bold]python -m rlhf pipeline run retrain --set rows=pairs.jsonl --set name=mine --watch[/]
    """
    from rlhf.jobs import Kind, State

    content, given, _ = _planned(file, set_, _settings(), fresh)
    with cli_jobs.opened() as jobs:
        job_id = jobs.ask(Kind.PIPELINE, content, given, priority=priority, title=str(content["name"]))
        typer.echo(job_id)
        if watch:
            job = cli_jobs.watch(jobs, job_id)
            cli_jobs.print_job(job)
            raise typer.Exit(0 if job.state is State.DONE else 1)


@app.command()
def schedule(file: FileArgument, set_: Set = [], off: Annotated[bool, typer.Option("--off")] = False) -> None:  # noqa: B006 - typer's way
    """Let the worker run a pipeline by itself, as its block `schedule` says; --off ends that."""
    from rlhf.pipelines import schedule as schedules

    settings = _settings()
    content, given, _ = _planned(file, set_, settings)
    if off:
        schedules.forget(settings.data, str(content["name"]))
        return
    typer.echo(schedules.keep(settings.data, content, given))


@app.command()
def schedules() -> None:
    """Pipelines that run by themselves: name, when, the job that was asked for last."""
    from rlhf.pipelines.schedule import listed

    for one in listed(_settings().data):
        typer.echo(f"{one.name}  {one.when}  {one.job or 'not yet'}")


def _settings() -> Settings:
    from rlhf.settings import Settings

    return Settings.from_environment()


def _planned(
    file: Path, assignments: list[str], settings: Settings, fresh: list[str] | None = None
) -> tuple[dict[str, Any], dict[str, Any], list[Any]]:
    """Content, parameters and the steps in order. PipelineError."""
    import sys

    import yaml

    from rlhf.errors import PipelineError
    from rlhf.pipelines.document import parse, read
    from rlhf.pipelines.kinds import load
    from rlhf.pipelines.spec import plan
    from rlhf.recipe import RECIPES

    if not file.exists() and (RECIPES / f"{file}.yaml").is_file():
        file = RECIPES / f"{file}.yaml"
    lines: Lines = {}
    if (name := str(file)) == "-":
        # Whoever writes there may have made it of something else, whose lines are other ones.
        content, _ = parse(sys.stdin.read(), name := "the pipeline")
    else:
        content, lines = read(file)
    content = {**content, "fresh": [*content.get("fresh", []), *(fresh or [])]}
    given: dict[str, Any] = {}
    for assignment in assignments:
        key, equals, value = assignment.partition("=")
        if not equals:
            raise PipelineError(f"--set {assignment}: write --set {key}=VALUE")
        given[key] = yaml.safe_load(value) if value else ""
    return content, given, plan(content, given, load(settings.steps), name, lines)
