"""The `loopyard` command. Each command imports what it needs when it runs, so that help is instant."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gateway.cli_annotate import app as annotate
from gateway.cli_collect import collect
from gateway.cli_convert import PASSED, convert
from gateway.cli_errors import CommandError
from gateway.cli_jobs import app as jobs
from gateway.cli_models import app as models
from gateway.cli_pipeline import app as pipeline
from gateway.cli_traces import app as traces

if TYPE_CHECKING:
    from rich.console import Console

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_show_locals=False,
    help="Ask your own documents and databases, on your own machine.\n\n"
    "First [bold]loopyard up[/], then in another terminal:\n\n"
    "  loopyard ingest ~/contracts --project work\n\n"
    "  loopyard databases add shop sqlite:///shop.sqlite --project work\n\n"
    '  loopyard chat "How long is the notice period?" --project work',
)
databases = typer.Typer(no_args_is_help=True, help="Databases that a project's agents may read.")
app.add_typer(databases, name="databases")
app.add_typer(jobs)
app.add_typer(pipeline, name="pipeline")
app.add_typer(models, name="models")
app.add_typer(traces, name="traces")
annotate.command()(collect)
app.add_typer(annotate, name="annotate")
app.command(context_settings=PASSED)(convert)

DataOption = Annotated[
    Path, typer.Option("--data", envvar="LOOPYARD_DATA", help="Data folder of the installation.")
]
ProjectOption = Annotated[str, typer.Option("--project", "-p", help="Project, made if it is missing.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]
DATA = Path("data")


def main() -> None:
    """Entry point: a CommandError becomes one red line and exit code 1."""
    try:
        app()
    except CommandError as error:
        _fail(error)


@app.command()
def up(
    data: DataOption = DATA,
    gateway_port: Annotated[int, typer.Option(help="Port of the console and the API.")] = 8080,
    llm_port: Annotated[int, typer.Option(help="Port of the model server.")] = 8000,
    tools_port: Annotated[int, typer.Option(help="Port of the tools.")] = 9000,
    no_demo: Annotated[bool, typer.Option("--no-demo", help="Do not load the demo project.")] = False,
    model: Annotated[
        str | None,
        typer.Option(help="A .gguf file, a transformers folder or a hub name, for the starter model."),
    ] = None,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Show what the services log.")] = False,
    workers: Annotated[
        str, typer.Option(help="MIN:MAX workers, by how deep their queues are; needs RLHF_JOBS_URL.")
    ] = "",
) -> None:
    """Start everything and keep it running; Ctrl-C stops it.

    Prints the addresses, and at the first start the admin key to sign in with.

    Example: [bold]loopyard up --data ~/loopyard --gateway-port 8090[/]
    """
    from gateway.cli_up import UpOptions
    from gateway.cli_up import up as run_up
    from gateway.services import Ports

    ports = Ports(gateway=gateway_port, llm=llm_port, tools=tools_port)
    run_up(UpOptions(data, ports, not no_demo, model, verbose, workers), _console())


@app.command()
def status(data: DataOption = DATA, as_json: JsonOption = False) -> None:
    """Show which services run, where they listen, and how often they were restarted.

    Exit code 0 if all are ready, else 1. Example: [bold]loopyard status --json[/]
    """
    from gateway.cli_status import collect_status, print_status

    found = collect_status(data)
    if as_json:
        _print_json(found)
    else:
        print_status(found, _console())
    raise typer.Exit(0 if found["running"] else 1)


@app.command()
def ingest(
    path: Annotated[Path, typer.Argument(help="A file, or a folder that is searched through.")],
    project: ProjectOption,
    data: DataOption = DATA,
) -> None:
    """Give documents to a project: Markdown, text, PDF, DOCX and CSV.

    May be repeated: files that have not changed are not read again. Exit code 1 if any file failed.

    Example: [bold]loopyard ingest ~/contracts --project work[/]
    """
    from gateway.cli_client import GatewayClient
    from gateway.cli_ingest import ingest as run_ingest
    from gateway.cli_ingest import print_report

    with GatewayClient.of(data) as client:
        report = run_ingest(client, project, path, _console())
    print_report(report, project, _console())
    raise typer.Exit(1 if report.failed else 0)


@databases.command("add")
def add_database(
    name: Annotated[str, typer.Argument(help="How agents and people will call it.")],
    url: Annotated[str, typer.Argument(help="sqlite:///file or postgresql://user:password@host/name")],
    project: ProjectOption,
    data: DataOption = DATA,
) -> None:
    """Connect a database; agents only ever read it.

    Examples: [bold]loopyard databases add shop sqlite:///shop.sqlite --project work[/] (a file below the
    current folder), [bold]loopyard databases add crm postgresql://reader:secret@db/crm --project work[/]
    """
    from gateway.cli_client import GatewayClient
    from gateway.cli_databases import absolute_url

    with GatewayClient.of(data) as client:
        address = absolute_url(url, Path.cwd())
        client.ensure_project(project)
        item = client.add_database(project, name, address)
    _console().print(f"[green]{item['name']}[/] ({item['dialect']}) has {item['tables']} tables.")


@databases.command("list")
def list_databases(project: ProjectOption, data: DataOption = DATA) -> None:
    """Show the databases of a project.

    Example: [bold]loopyard databases list --project work[/]
    """
    from rich.table import Table

    from gateway.cli_client import GatewayClient

    with GatewayClient.of(data) as client:
        items = client.databases(project)
    table = Table("name", "kind", "tables", "added")
    for item in items:
        table.add_row(item["name"], item["dialect"], str(item["tables"]), str(item["created_at"])[:19])
    _console().print(table if items else f"{project} has no database; `loopyard databases add` connects one.")


@app.command()
def chat(
    question: Annotated[str, typer.Argument(help="What you want to know.")],
    agent: Annotated[
        str, typer.Option("--agent", "-a", help="general, documents or data-analyst.")
    ] = "general",
    project: Annotated[str, typer.Option("--project", "-p", help="Whose documents and databases.")] = "demo",
    data: DataOption = DATA,
    as_json: JsonOption = False,
) -> None:
    """Ask one question and watch the agent find the answer.

    Example: [bold]loopyard chat "Which five customers spent most?" --agent data-analyst --project work[/]
    """
    from gateway.cli_chat import collect, show
    from gateway.cli_client import GatewayClient

    with GatewayClient.of(data) as client:
        events = client.chat(project, agent, question)
        if as_json:
            _print_json(collect(events, agent, project))
        else:
            show(events, agent, project, _console())


@app.command()
def doctor(
    data: DataOption = DATA,
    gateway_port: Annotated[int, typer.Option(help="Port that the gateway shall have.")] = 8080,
    llm_port: Annotated[int, typer.Option(help="Port that the model server shall have.")] = 8000,
    tools_port: Annotated[int, typer.Option(help="Port that the tools shall have.")] = 9000,
) -> None:
    """Find out what is wrong; every finding says what to do about it.

    Exit code 1 if something has to be mended.
    """
    from gateway.doctor import Level, examine
    from gateway.services import Ports

    console, wrong = _console(), False
    signs = {Level.OK: "[green]✓[/]", Level.WARNING: "[yellow]![/]", Level.WRONG: "[red]✗[/]"}
    for finding in examine(data, Ports(gateway=gateway_port, llm=llm_port, tools=tools_port)):
        wrong = wrong or finding.level is Level.WRONG
        console.print(f"{signs[finding.level]} [bold]{finding.name:<12}[/] {finding.text}", highlight=False)
        if finding.remedy:
            console.print(f"  [dim]→ {finding.remedy}[/]", highlight=False)
    raise typer.Exit(1 if wrong else 0)


def _console() -> Console:
    from rich.console import Console

    return Console()


def _print_json(value: object) -> None:
    import json

    print(json.dumps(value, ensure_ascii=False, indent=2))


def _fail(error: CommandError) -> None:
    from rich.console import Console
    from rich.text import Text

    console = Console(stderr=True)
    console.print(Text(str(error.args[0]), style="red"), soft_wrap=True)
    if error.remedy:
        console.print(Text(f"→ {error.remedy}"), soft_wrap=True)
    sys.exit(1)


if __name__ == "__main__":
    main()
