"""The verb `estimate`: what a training needs of memory, and what `auto` would choose, without training."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True)


@app.command()
def estimate(
    recipe: Annotated[str, typer.Argument(help="A YAML file, or a method by name: its own recipe.")],
    data: Annotated[Path, typer.Option(help="Folder with train.jsonl.", exists=True)],
    base: Annotated[Path | None, typer.Option(help="Folder of the base model; each method has one.")] = None,
    auto: Annotated[
        bool, typer.Option("--auto", help="As if precision and quantisation were `auto`.")
    ] = False,
    free_gb: Annotated[float | None, typer.Option(help="As if so much were free (GiB).", min=0.001)] = None,
    adapter: Annotated[bool, typer.Option("--goes-on", help="As if it went on from an adapter.")] = False,
) -> None:
    """What a training needs of memory, line by line, and what `auto` chooses; nothing is trained.

    Exit code 1 if nothing fits.

    Example: [bold]python -m rlhf estimate sft --data data/datasets/answers --auto[/]
    """
    from rlhf.cli_train import settle

    settle()
    from rich.console import Console
    from rich.table import Table

    from rlhf.estimate import look

    seen = look(recipe, data, base, auto, free_gb, adapter)
    shown = Table("precision", "checkpointing", "rows at once", "base", "needs", "fits")
    for line in seen.lines:
        shown.add_row(*line)
    console = Console(width=160)
    console.print(shown)
    console.print(seen.said, markup=False, soft_wrap=True)
    raise typer.Exit(0 if seen.fits else 1)
