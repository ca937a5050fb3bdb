"""`loopyard pipeline`: check, run, and let run by themselves."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from gateway.cli_jobs import DATA, DataOption, FollowOption, JsonOption, ProjectOption

app = typer.Typer(
    no_args_is_help=True,
    help="Pipelines of steps: check, run, schedule. `retrain` is one of ours: collect pairs, train, compare, "
    "promote.",
)
FileArgument = Annotated[Path, typer.Argument(help="A pipeline's YAML file, or the name of one of ours.")]
SetOption = Annotated[
    list[str] | None, typer.Option("--set", help="A parameter as NAME=VALUE; VALUE is YAML.")
]
SCHEDULES = "/api/v1/pipelines/schedules"


@app.command()
def check(file: FileArgument, given: SetOption = None) -> None:
    """Say what is wrong with a pipeline, with file, line, step and remedy, or in which order its steps run.

    Needs no gateway. Exit code 1 if something is wrong.

    Example: [bold]loopyard pipeline check retrain.yaml --set rows=feedback.jsonl[/]
    """
    import os
    import subprocess
    import sys

    from gateway.cli_train import pipeline_file
    from gateway.datasets.child import ROOT

    assignments = [f"--set={one}" for one in given or []]
    verb = [sys.executable, "-m", "rlhf", "pipeline", "check", *assignments]
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    done = subprocess.run(
        [*verb, "--", str(pipeline_file(file))],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    typer.echo(done.stdout, nl=False)
    typer.echo(done.stderr, nl=False, err=True)
    raise typer.Exit(done.returncode)


@app.command()
def run(
    file: FileArgument,
    given: SetOption = None,
    again: Annotated[
        list[str] | None,
        typer.Option("--from", help="Do this step again although its output is there; may be repeated."),
    ] = None,
    project: ProjectOption = "demo",
    follow: FollowOption = True,
    data: DataOption = DATA,
) -> None:
    """Run a pipeline in the worker. A step whose inputs are what they were is not done again.

    With --from a step is, and so is what follows it where its output has become another one.
    Ctrl-C leaves it running. Exit code 0 if it is done.

    Example: [bold]loopyard pipeline run retrain --set rows=feedback.jsonl --from train[/]
    """
    from gateway.cli_client import GatewayClient
    from gateway.cli_job_view import follow_job

    body = {"kind": "pipeline", **_wanted(file, given)}
    if again:
        body["spec"]["fresh"] = [*(body["spec"].get("fresh") or []), *again]
    with GatewayClient.of(data) as client:
        headers = {"X-Project": project}
        job = client.request("POST", "/api/v1/jobs", json=body, headers=headers).json()["id"]
        typer.echo(f"job {job}")
        if follow:
            raise typer.Exit(0 if follow_job(client, job) == "done" else 1)


@app.command()
def schedule(file: FileArgument, given: SetOption = None, data: DataOption = DATA) -> None:
    """Let the worker run a pipeline by itself, as its block `schedule` says: cron, new_rows, drift,
    quality.

    Example: [bold]loopyard pipeline schedule nightly.yaml --set rows=feedback.jsonl[/]
    """
    from gateway.cli_client import GatewayClient

    with GatewayClient.of(data) as client:
        kept = client.request("POST", SCHEDULES, json=_wanted(file, given)).json()
    typer.echo(f"{kept['name']} runs {kept['when']}")


@app.command()
def schedules(data: DataOption = DATA, as_json: JsonOption = False) -> None:
    """Show the pipelines that run by themselves.

    Example: [bold]loopyard pipeline schedules[/]
    """
    from rich.console import Console
    from rich.table import Table

    from gateway.cli_client import GatewayClient
    from gateway.cli_job_view import print_json

    with GatewayClient.of(data) as client:
        items = client.items(SCHEDULES)
    if as_json:
        print_json(items)
        return
    table = Table("name", "when", "last job")
    for one in items:
        table.add_row(one["name"], one["when"], one["job_id"] or "not yet")
    Console().print(table if items else "No pipeline runs by itself; `loopyard pipeline schedule` lets one.")


@app.command()
def unschedule(
    name: Annotated[str, typer.Argument(help="As `loopyard pipeline schedules` shows it.")],
    data: DataOption = DATA,
) -> None:
    """Run a pipeline no longer by itself.

    Example: [bold]loopyard pipeline unschedule nightly[/]
    """
    from urllib.parse import quote

    from gateway.cli_client import GatewayClient

    with GatewayClient.of(data) as client:
        client.request("DELETE", f"{SCHEDULES}/{quote(name, safe='')}")
    typer.echo(f"{name} does not run by itself any more")


def _wanted(file: Path, given: list[str] | None) -> dict[str, Any]:
    from gateway.cli_train import pipeline_file, read_parameters, read_yaml

    return {"spec": read_yaml(pipeline_file(file)), "parameters": read_parameters(given or [])}
