"""`python -m rlhf forget`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer()


@app.command()
def forget(
    user: Annotated[str, typer.Argument(help="The user's id, as rows have it in the column `user`.")],
    root: Annotated[Path, typer.Argument(help="DATA, or OUT of `retrain`.", exists=True, file_okay=False)],
    traces: Annotated[
        Path | None, typer.Option(help="File of trace ids of theirs, a line each; `-` is standard input.")
    ] = None,
    memory: Annotated[int, typer.Option(help="Megabytes that it may take; 0 is no limit.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")] = False,
) -> None:
    """Withdraw every dataset with rows of a user, delete copies of rows, forget their id in the lineage.

    `loopyard traces erase` does this for its DATA and more; this is for what lies elsewhere. It may be
    repeated. Exit code 1 if something could not be reached.

    Example: [bold]python -m rlhf forget 0199-ada ~/experiments/tone[/]
    """
    import json
    from dataclasses import asdict

    from rlhf.cli_data import limit_memory
    from rlhf.data.withdraw import Person
    from rlhf.forget import forget as run_forget

    limit_memory(memory)
    ids = frozenset(_lines(traces)) if traces else frozenset()
    done = run_forget(root, Person(user, ids))
    if as_json:
        typer.echo(json.dumps(asdict(done)))
        return
    for one in done.withdrawn:
        typer.echo(
            f"withdrawn: dataset {one['digest'][:12]}, {one['theirs']} of {one['rows']} rows were theirs"
        )
    typer.echo(
        f"{len(done.withdrawn)} datasets, {done.copies} copies, {len(done.adapters)} adapters' lineage"
    )
    for two in done.unattributed:
        typer.echo(f"dataset {two['digest'][:12]} has {two['rows']} rows that name nobody")
    for left in done.unreached:
        typer.echo(f"not reached: {left['what']}: {left['why']}. {left['remedy']}", err=True)
    raise typer.Exit(1 if done.unreached else 0)


def _lines(file: Path) -> list[str]:
    import sys

    text = sys.stdin.read() if str(file) == "-" else file.read_text(encoding="utf-8")
    return text.split()
