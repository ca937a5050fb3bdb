"""`loopyard models`: what was trained, which version answers, which model chats use, from a terminal."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from gateway.cli_jobs import DATA, DataOption, FollowOption, JsonOption

app = typer.Typer(no_args_is_help=True, help="Adapters: list, deploy, roll back, use in chats.")
NameArgument = Annotated[str, typer.Argument(help="Name of the adapter.")]
REGISTRY, MODELS = "/api/v1/models-registry", "/api/v1/models"


@app.command("list")
def list_models(data: DataOption = DATA, as_json: JsonOption = False) -> None:
    """Show every version, what it is, which alias means it, and what chats use.

    Example: [bold]loopyard models list[/]
    """
    from rich.console import Console
    from rich.table import Table

    from gateway.cli_client import GatewayClient
    from gateway.cli_job_view import print_json

    with GatewayClient.of(data) as client:
        models = client.items(REGISTRY)
        chats = client.request("GET", f"{MODELS}/chats").json()
    if as_json:
        print_json(models)
        return
    table = Table("name", "version", "kind", "is", "rows", "made")
    for one in (version for model in models for version in model["versions"]):
        is_now, made = ", ".join(one["aliases"]), one["created_at"][:19]
        table.add_row(one["name"], one["version"], one["kind"], is_now, str(one["pairs"]), made)
    Console().print(table if models else "Nothing is registered; `loopyard train` makes an adapter.")
    typer.echo(said(chats))


@app.command()
def deploy(
    name: NameArgument,
    version: Annotated[str, typer.Argument(help="Digits of its digest, or an alias.")] = "candidate",
    chats: Annotated[bool, typer.Option(help="Let chats use the adapter from then on.")] = True,
    follow: FollowOption = True,
    data: DataOption = DATA,
) -> None:
    """Let a version answer, once the worker has seen that the model server computes what PEFT does.

    Chats use the adapter from then on, unless --no-chats is given. Whatever goes wrong leaves the name as it
    was. Ctrl-C leaves the job running. Exit code 0 if it is done.

    Example: [bold]loopyard models deploy citing 1a2b3c4d5e6f[/]
    """
    from gateway.cli_client import GatewayClient
    from gateway.cli_job_view import follow_job

    with GatewayClient.of(data) as client:
        body = {"version": version, "chats": chats}
        asked = client.request("POST", f"{REGISTRY}/{name}/deploy", json=body)
        job = str(asked.json()["id"])
        typer.echo(f"job {job}")
        if follow:
            raise typer.Exit(0 if follow_job(client, job) == "done" else 1)


@app.command()
def use(
    name: Annotated[str, typer.Argument(help="A served model, such as starter:citing or citing.")] = "",
    base: Annotated[bool, typer.Option("--base", help="The model server's first chat model.")] = False,
    data: DataOption = DATA,
) -> None:
    """Let chats use another model from the next question on, where their agent names none.

    Without a name: show what they use and what is served.

    Examples: [bold]loopyard models use citing[/], [bold]loopyard models use --base[/]
    """
    from gateway.cli_client import GatewayClient
    from gateway.cli_errors import CommandError

    if name and base:
        raise CommandError(f"{name} and --base both say what chats use", "leave one of them out")
    with GatewayClient.of(data) as client:
        if name or base:
            found = client.request("PUT", f"{MODELS}/chats", json={"model": name or None}).json()
        else:
            found = client.request("GET", f"{MODELS}/chats").json()
            typer.echo("served: " + ", ".join(model["id"] for model in client.items(MODELS)))
    typer.echo(said(found))


def said(chats: dict[str, Any]) -> str:
    """What /models/chats says, in a line."""
    by = {
        "setting": ", as GATEWAY_DEFAULT_MODEL says",
        "choice": "",
        "server": ", as nobody chose another one",
    }
    return chats["problem"] or f"chats use {chats['model']}{by[chats['source']]}"


@app.command()
def rollback(name: NameArgument, data: DataOption = DATA) -> None:
    """Let the version answer that answered before, in chats too if they use the adapter.

    Example: [bold]loopyard models rollback citing[/]
    """
    from gateway.cli_client import GatewayClient

    with GatewayClient.of(data) as client:
        found = client.request("POST", f"{REGISTRY}/{name}/rollback").json()
    typer.echo(f"{name} is {found['live'][7:19]} again")
