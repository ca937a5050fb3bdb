"""`loopyard models`: what was trained, which version of each adapter answers, from a terminal."""

from __future__ import annotations

from typing import Annotated

import typer

from gateway.cli_jobs import DATA, DataOption, FollowOption, JsonOption

app = typer.Typer(no_args_is_help=True, help="Adapters: list, deploy, roll back.")
NameArgument = Annotated[str, typer.Argument(help="Name of the adapter.")]
REGISTRY = "/api/v1/models-registry"


@app.command("list")
def list_models(data: DataOption = DATA, as_json: JsonOption = False) -> None:
    """Show every version, what it is, and which alias means it.

    Example: [bold]loopyard models list[/]
    """
    from rich.console import Console
    from rich.table import Table

    from gateway.cli_client import GatewayClient
    from gateway.cli_job_view import print_json

    with GatewayClient.of(data) as client:
        models = client.items(REGISTRY)
    if as_json:
        print_json(models)
        return
    table = Table("name", "version", "kind", "is", "rows", "made")
    for one in (version for model in models for version in model["versions"]):
        is_now, made = ", ".join(one["aliases"]), one["created_at"][:19]
        table.add_row(one["name"], one["version"], one["kind"], is_now, str(one["pairs"]), made)
    Console().print(table if models else "Nothing is registered; `loopyard train` makes an adapter.")


@app.command()
def deploy(
    name: NameArgument,
    version: Annotated[str, typer.Argument(help="Digits of its digest, or an alias.")] = "candidate",
    follow: FollowOption = True,
    data: DataOption = DATA,
) -> None:
    """Let a version answer, once the worker has seen that the model server computes what PEFT does.

    Whatever goes wrong leaves the name as it was. Ctrl-C leaves the job running. Exit code 0 if it is done.

    Example: [bold]loopyard models deploy citing 1a2b3c4d5e6f[/]
    """
    from gateway.cli_client import GatewayClient
    from gateway.cli_job_view import follow_job

    with GatewayClient.of(data) as client:
        asked = client.request("POST", f"{REGISTRY}/{name}/deploy", json={"version": version})
        job = str(asked.json()["id"])
        typer.echo(f"job {job}")
        if follow:
            raise typer.Exit(0 if follow_job(client, job) == "done" else 1)


@app.command()
def rollback(name: NameArgument, data: DataOption = DATA) -> None:
    """Let the version answer that answered before.

    Example: [bold]loopyard models rollback citing[/]
    """
    from gateway.cli_client import GatewayClient

    with GatewayClient.of(data) as client:
        found = client.request("POST", f"{REGISTRY}/{name}/rollback").json()
    typer.echo(f"{name} is {found['live'][7:19]} again")
