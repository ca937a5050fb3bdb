"""`python -m rlhf.starter data | train | evaluate | card`: the starter model from a seed to its card."""

import json
import logging
import os
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

app = typer.Typer(help="Make the starter model: data, train, evaluate, card.", no_args_is_help=True)
HERE = Path(__file__).parent
MODEL, REPORT, WRITTEN = HERE / "model", HERE / "report.json", HERE / "handwritten.yaml"
ALLOCATOR = {
    "GOMP_SPINCOUNT": "0",
    "MALLOC_MMAP_THRESHOLD_": "4000000000",
    "MALLOC_TRIM_THRESHOLD_": "8000000000",
}
"""Measured: without them the backward pass on shared cores takes up to three times as long."""
console = Console()

Source = Annotated[Path, typer.Option(help="Folder with dialogues/ and questions/.", exists=True)]
Data = Annotated[Path, typer.Option(help="Folder of tokens and tokenizer.")]
Run = Annotated[Path, typer.Option(help="Folder of the run: state, log, recipe.")]
Model = Annotated[Path, typer.Option(help="Model folder.")]
Begin = Annotated[
    Path | None, typer.Option(help="Model folder whose tokenizer and weights a new run begins with.")
]


@app.command()
def data(
    source: Source,
    out: Data = Path("data/starter/tokens"),
    samples: int = 120_000,
    shards: int = 4,
    seed: int = 1,
    begin: Begin = None,
) -> None:
    """Generate and cut the training conversations, write the splits, train the tokenizer."""
    from rlhf.starter.data import make_data
    from rlhf.starter.tokenizer import load_tokenizer

    if begin:
        load_tokenizer(begin).save_pretrained(out)
    counts = make_data(source, out, samples, seed, shards, exercises=begin is None)
    table = Table("kind", "samples", "tokens", "trained")
    for kind in sorted(k for k in counts if "." not in k):
        table.add_row(kind, *(f"{counts.get(kind + part, 0):,}" for part in ("", ".tokens", ".trained")))
    console.print(table)


@app.command()
def train(
    data: Data = Path("data/starter/tokens"),
    run: Run = Path("data/starter/run"),
    model: Model = MODEL,
    minutes: float = 90.0,
    micro_batches: int = 1,
    batch_tokens: int = 6144,
    seed: int = 1,
    device: str = "cpu",
    threads: int = 0,
    begin: Begin = None,
    rates: Annotated[float, typer.Option(help="Times the recipe's rates; less where weights go on.")] = 1.0,
    decay_share: Annotated[float, typer.Option(help="Of the minutes, over which rates fall to zero.")] = 0.4,
) -> None:
    """Train, or go on with the run in the folder; at the end write the model folder."""
    if device == "cpu" and any(os.environ.get(name) is None for name in ALLOCATOR):
        # glibc and libgomp read these once, at start
        again = [sys.executable, "-m", "rlhf.starter", *sys.argv[1:]]
        os.execve(sys.executable, again, os.environ | ALLOCATOR)  # noqa: S606 (our own command)
    import torch

    from rlhf.starter.train import Recipe, Trainer

    if threads:
        torch.set_num_threads(threads)
    recipe = Recipe(
        minutes=minutes,
        seed=seed,
        micro_batches=micro_batches,
        batch_tokens=batch_tokens,
        matrix_rate=rates * Recipe.matrix_rate,
        rate=rates * Recipe.rate,
        decay_share=decay_share,
    )
    trainer = Trainer(recipe, data, run, device, begin)
    trainer.run(tell=console.print)
    trainer.export(model)
    (model.parent / "training-log.jsonl").write_text((run / "log.jsonl").read_text())


@app.command()
def export(
    data: Data = Path("data/starter/tokens"), run: Run = Path("data/starter/run"), model: Model = MODEL
) -> None:
    """Write the model folder from the run's last state, finished or not."""
    from rlhf.starter.export import export as write_folder
    from rlhf.starter.tokenizer import load_tokenizer
    from rlhf.starter.train import load_run

    write_folder(load_run(run), load_tokenizer(data), model)


@app.command()
def mean(
    one: Path,
    other: Path,
    model: Model = MODEL,
    share: Annotated[float, typer.Option(help="Of the other.")] = 0.5,
) -> None:
    """Write the mean of the weights of two model folders: two states of one run."""
    from rlhf.starter.export import mean as write_mean

    write_mean(one, other, model, share)


@app.command()
def evaluate(
    source: Source,
    model: Model = MODEL,
    url: Annotated[
        str, typer.Option(help="An OpenAI API to ask instead of the folder: http://127.0.0.1:8000/v1")
    ] = "",
    key: Annotated[str, typer.Option(envvar="LLM_API_KEY")] = "",
    count: Annotated[int, typer.Option(help="Cases of each kind.")] = 150,
    only: Annotated[str, typer.Option(help="Only the kinds that begin so.")] = "",
    report: Path = REPORT,
    misses: Annotated[Path | None, typer.Option(help="Write every miss to this file.")] = None,
) -> None:
    """Measure on what was held out: from the folder without a grammar, or through a server."""
    from rlhf.starter.answering import FolderAnswerer, ServerAnswerer
    from rlhf.starter.cases import all_cases
    from rlhf.starter.evaluate import score, write_report
    from rlhf.starter.mixture import split

    words, _, held = split(source)
    answerer = ServerAnswerer(url, key) if url else FolderAnswerer(model)
    cases = [case for case in all_cases(words, held, WRITTEN, count) if case.kind.startswith(only)]
    figures, missed = score(cases, answerer, console.print)
    figures = write_report(report, "served" if url else "free", figures)
    if misses:
        misses.write_text("\n".join(json.dumps(one, ensure_ascii=False) for one in missed) + "\n")
    table = Table("kind", "cases", "valid", "tool", "exact")
    for kind, row in figures.items():
        table.add_row(kind, *(str(row.get(name, "")) for name in ("count", "valid", "tool", "exact")))
    console.print(table)


@app.command()
def card(model: Model = MODEL, report: Path = REPORT, run: Run = Path("data/starter/run")) -> None:
    """Write the model card from the report and the run's recipe."""
    from rlhf.starter.card import write_card

    write_card(model, report, run)


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING)
    app()
