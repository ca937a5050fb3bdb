"""`loopyard annotate collect`: a project's chats to the console's page that judges."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gateway.cli_errors import CommandError

if TYPE_CHECKING:
    from gateway.cli_client import GatewayClient

LOOK = 0.5
"""Seconds between two looks at how far it is."""


def collect(
    project: Annotated[str, typer.Option("--project", "-p", help="Project of the chats.")] = "demo",
    since: Annotated[str, typer.Option(help="Answers from then on: a date, or 36h, 7d, 2w.")] = "30d",
    until: Annotated[str, typer.Option(help="Answers until then; until now where it is left out.")] = "",
    limit: Annotated[
        int, typer.Option(min=0, max=1000, help="Second answers that are asked for; 0 asks for none.")
    ] = 20,
    model: Annotated[
        str, typer.Option(help="Model for second answers, such as base:adapter; else the one that answered.")
    ] = "",
    temperature: Annotated[float, typer.Option(min=0, max=2, help="Of second answers.")] = 1.0,
    again: Annotated[
        float, typer.Option(min=0, max=1, help="Share of pairs that is shown twice, sides changed.")
    ] = 0.1,
    known: Annotated[
        float, typer.Option(min=0, max=1, help="Share of tasks with a known answer, out of corrections.")
    ] = 0.1,
    data: Annotated[
        Path, typer.Option("--data", envvar="LOOPYARD_DATA", help="Data folder of the installation.")
    ] = Path("data"),
) -> None:
    """Fill the console's page with pairs out of the project's chats. Needs no Label Studio.

    Corrections, and thumbs up and down on one prompt, become preferences at once; an answer alone gets a
    second one from a model, disliked answers first. May be repeated: nothing comes twice. Ctrl-C ends it.

    Example: [bold]loopyard annotate collect --project demo --since 7d --limit 20[/]
    """
    from urllib.parse import quote

    from gateway.cli_client import GatewayClient

    wanted: dict[str, Any] = {"since": since, "until": until or None, "second": limit, "model": model}
    wanted |= {"temperature": temperature, "again": again, "known": known}
    path = f"/api/v1/annotation/{quote(project, safe='')}/collect"
    with GatewayClient.of(data) as gateway:
        gateway.request("POST", path, json=wanted)
        try:
            seen = _followed(gateway, path)
        except KeyboardInterrupt:
            gateway.request("DELETE", path)
            raise
        if seen["state"] == "failed":
            raise CommandError(seen["error"], "what was found is kept: run the command again")
        print(
            f"From traces: {seen['preferences']} preferences of users, {seen['pairs']} pairs, "
            f"{seen['alone']} answers alone"
        )
        if seen["same"]:
            print(
                f"{seen['same']} of them got no other answer; a higher --temperature or another --model may"
            )
        print(f"{project}: {seen['added']} tasks are new. Judge them at {gateway.url}/p/{project}/annotate")


def _followed(gateway: GatewayClient, path: str) -> dict[str, Any]:
    """A bar until the run has ended; what it came to."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        bar = progress.add_task("reading traces", total=None)
        while True:
            seen: dict[str, Any] = gateway.request("GET", path).json()
            if seen["state"] != "running":
                return seen
            doing = str(seen["doing"]).capitalize()
            progress.update(bar, description=doing, completed=seen["done"], total=seen["total"] or None)
            time.sleep(LOOK)
