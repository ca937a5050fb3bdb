"""`python -m rlhf dataset inspect | validate | build | derive | check | verify | export`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rlhf.data.check import Report
    from rlhf.data.step import Step


class Format(StrEnum):
    """What a dataset can be exported to."""

    TRL = "trl"
    TRLX = "trlx"
    CSV = "csv"


class KindName(StrEnum):
    """What rows can be."""

    PREFERENCE = "preference"
    KTO = "kto"
    SFT = "sft"
    TRIPLET = "triplet"
    LABEL = "label"


class Derived(StrEnum):
    """What can be made of preferences."""

    KTO = "kto"
    SFT = "sft"


app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="rich",
    help="Rows to train on: check files of them, and make datasets.\n\n"
    "A file has JSON lines, or is a CSV (.csv) or Parquet file (.parquet). Its columns say what rows are: "
    "prompt, chosen, rejected (preference); prompt, completion, label (kto); prompt, completion or messages "
    "or instruction, input, output (sft); query, positive, negative (triplet); text, label (label).\n\n"
    "  python -m rlhf dataset check feedback.jsonl\n\n"
    "  python -m rlhf dataset build feedback.jsonl --out data/datasets/first",
)
FilesArgument = Annotated[list[Path], typer.Argument(help="JSON lines, CSV or Parquet files.")]
FolderArgument = Annotated[Path, typer.Argument(help="A folder that `dataset build` made.")]
STARTER = Path(__file__).parent / "starter" / "model"
KindOption = Annotated[
    KindName | None, typer.Option("--kind", help="What the rows are; otherwise their columns say it.")
]
MapOption = Annotated[
    list[str] | None,
    typer.Option("--map", help="COLUMN_OF_ROW=COLUMN_OF_FILE, such as output=reply; repeatable."),
]
StepsOption = Annotated[
    Path | None,
    typer.Option(
        help="YAML list of what is done to rows (- is the standard input): map, clean, template, chunk, "
        "limit; negatives, synthesise, augment once they are split."
    ),
]
MemoryOption = Annotated[int, typer.Option(help="Megabytes that it may take; 0 is no limit.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]


@app.command("inspect")
def inspect_file(
    file: Annotated[Path, typer.Argument(help="JSON lines, CSV or Parquet.")],
    memory: MemoryOption = 0,
    base: Annotated[Path, typer.Option(help="Folder of the model whose tokenizer counts tokens.")] = STARTER,
) -> None:
    """Say what a file of rows is, as one JSON object: format, rows, columns, text statistics.

    Exit code 1 if it cannot be read; the text names the byte or the line.

    Example: [bold]python -m rlhf dataset inspect feedback.parquet[/]
    """
    import json

    from rlhf.data.inspect import inspect
    from rlhf.data.tokens import Tokens

    limit_memory(memory)
    typer.echo(json.dumps(inspect(file, Tokens(base)), ensure_ascii=False))


@app.command("validate")
def validate_file(
    file: Annotated[Path, typer.Argument(help="JSON lines, CSV or Parquet, with any columns.")],
    name: Annotated[str, typer.Option(help="What findings call the file.")] = "",
    memory: MemoryOption = 0,
) -> None:
    """Say what is wrong with a file of rows, as one JSON object: missing values, duplicates, personal data.

    Example: [bold]python -m rlhf dataset validate tickets.csv[/]
    """
    import json
    from dataclasses import asdict

    from rlhf.data.table_check import check_file

    limit_memory(memory)
    report = check_file(file, name or str(file))
    counts = {"errors": report.count("error"), "warnings": report.count("warning")}
    findings = [asdict(finding) for finding in report.findings]
    typer.echo(json.dumps({"rows": report.rows, **counts, "findings": findings}, ensure_ascii=False))


@app.command("preview")
def preview_file(
    file: Annotated[Path, typer.Argument(help="JSON lines, CSV or Parquet.")],
    mapping: MapOption = None,
    steps: StepsOption = None,
    kind: KindOption = None,
    rows: Annotated[int, typer.Option(help="Rows that are shown.")] = 5,
    name: Annotated[str, typer.Option(help="What errors call the file.")] = "",
    memory: MemoryOption = 0,
) -> None:
    """Show what the first rows of a file would be, as one JSON object; nothing is written.

    Example: [bold]python -m rlhf dataset preview faq.csv --map instruction=question --map output=reply[/]
    """
    import json

    from rlhf.data.build import Plan
    from rlhf.data.preview import preview

    limit_memory(memory)
    plan = Plan(kind=kind.value if kind else None, steps=_declared(mapping, steps))
    typer.echo(json.dumps(preview(file, name or str(file), plan, rows), ensure_ascii=False))


def _declared(mapping: list[str] | None, steps: Path | None) -> tuple[Step, ...]:
    """The mapping as the first step, and those of a file. DatasetError."""
    from rlhf.data.steps import read_steps, steps_of
    from rlhf.errors import DatasetError

    columns = {}
    for one in mapping or ():
        target, equals, source = one.partition("=")
        if not (target and equals and source):
            raise DatasetError(f"`--map {one}` is no mapping; write COLUMN_OF_ROW=COLUMN_OF_FILE")
        columns[target] = source
    first = steps_of([{"map": {"columns": columns}}]) if columns else ()
    return (*first, *(read_steps(steps) if steps else ()))


def limit_memory(memory: int) -> None:
    """Keep this process below so many megabytes; 0 is no limit."""
    import resource

    if memory:
        resource.setrlimit(resource.RLIMIT_AS, (memory << 20, memory << 20))


@app.command("build")
def build_dataset(
    files: FilesArgument,
    out: Annotated[Path, typer.Option(help="Folder of the dataset; it must not exist yet.")],
    held_out: Annotated[
        float, typer.Option(help="Share of the rows that is kept for the examination.")
    ] = 0.2,
    seed: Annotated[int, typer.Option(help="Another seed holds out other rows.")] = 0,
    redact_pii: Annotated[
        bool,
        typer.Option(
            "--redact-pii",
            help="Replace e-mail and IP addresses, phone, card, account and identity numbers, API keys; "
            "names and places with RLHF_PII_MODEL.",
        ),
    ] = False,
    users_may_cross: Annotated[
        bool,
        typer.Option(
            "--users-may-cross",
            help="Let one user's rows be on both sides; needed where there is only one user.",
        ),
    ] = False,
    kind: KindOption = None,
    mapping: MapOption = None,
    steps: StepsOption = None,
    base: Annotated[
        Path | None, typer.Option(help="Folder of the base model, whose tokenizer counts tokens.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Make a dataset from files: check, leave out what is useless, split, write with a manifest and a card.

    The rows are of one kind, which the manifest names. Near-duplicate prompts, one session and one user
    always stay on one side. Equal files give an equal dataset, whatever their order. If a row cannot be read,
    nothing is built and every such row is named. Files
    of more than RLHF_ROWS_MEGABYTES together are refused unread.

    Example: [bold]python -m rlhf dataset build a.jsonl b.csv --out data/datasets/first --redact-pii[/]
    """
    import json

    from rlhf.data.build import Plan, build
    from rlhf.data.split import KEYS
    from rlhf.settings import Settings

    keys = tuple(key for key in KEYS if not (users_may_cross and key == "user"))
    declared = _declared(mapping, steps)
    plan = Plan(held_out, seed, redact_pii, keys, kind.value if kind else None, declared, base)
    manifest, report = build(files, out, plan, Settings.from_environment().rows_megabytes)
    if as_json:
        typer.echo(json.dumps(manifest, indent=1))
        return
    _print(report)
    _say_built(out, manifest)


def _say_built(out: Path, manifest: dict[str, Any]) -> None:
    from rlhf.data.kinds import kind_of

    rows, left, tokens = manifest["rows"], manifest["left_out"], manifest["tokens"]
    called = kind_of(manifest["kind"]).called
    typer.echo(
        f"{out}: {rows['train']} {called} to train on, {rows['held_out']} held out, "
        f"{left['errors']} with errors and {left['duplicates']} duplicates left out"
    )
    for step in manifest.get("steps", ()):
        did = ", ".join(f"{name} {count}" for name, count in step.items() if name not in ("step", "rows"))
        typer.echo(f"{step['step']}: {step['rows']} rows, {did or 'nothing to do'}")
    typer.echo(f"tokens: {tokens['train']} to train on, {tokens['held_out']} held out ({tokens['by']})")
    typer.echo(f"digest {manifest['digest']}")


@app.command("derive")
def derive_dataset(
    folder: FolderArgument,
    to: Annotated[Derived, typer.Option(help="What is made of the preferences.")],
    out: Annotated[Path, typer.Option(help="Folder of the new dataset; it must not exist yet.")],
    source: Annotated[
        list[str] | None,
        typer.Option(
            help="Only preferences from here (choice, thumbs, correction, rule, judge); repeatable."
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Make thumbs (kto) or answers (sft) from a dataset of preferences.

    A preferred answer becomes one with a thumb up, the other one with a thumb down; or the preferred or
    corrected answer becomes one to imitate. What was held out stays held out, and every row keeps the
    session, user and trace that it comes from.

    Example: [bold]python -m rlhf dataset derive data/datasets/first --to sft --out data/datasets/answers[/]
    """
    import json

    from rlhf.data.derive import derive

    manifest, report = derive(folder, to.value, out, source or ())
    if as_json:
        typer.echo(json.dumps(manifest, indent=1))
        return
    _print(report)
    _say_built(out, manifest)


@app.command("check")
def check_files(files: FilesArgument, kind: KindOption = None, as_json: JsonOption = False) -> None:
    """Find out what is wrong with files of rows; nothing is written.

    Exit code 1 if there is an error. Warnings are for a person to look at.

    Example: [bold]python -m rlhf dataset check feedback.jsonl[/]
    """
    import json
    from dataclasses import asdict

    from rlhf.data.check import check_rows
    from rlhf.data.kinds import kind_of
    from rlhf.data.read import read_files
    from rlhf.settings import Settings

    limit = Settings.from_environment().rows_megabytes
    read = read_files(files, kind_of(kind.value) if kind else None, megabytes=limit)
    report = check_rows(read.placed, read.bad)
    errors, warnings = report.count("error"), report.count("warning")
    if as_json:
        findings = [asdict(finding) for finding in report.findings]
        typer.echo(
            json.dumps({"rows": report.rows, "errors": errors, "warnings": warnings, "findings": findings})
        )
    else:
        _print(report)
        typer.echo(f"readable rows: {report.rows}, errors: {errors}, warnings: {warnings}")
    raise typer.Exit(1 if errors else 0)


@app.command("verify")
def verify(folder: FolderArgument) -> None:
    """Make sure that a dataset is whole and that nothing is both trained on and held out.

    Exit code 1 if not; names the rows. Training does the same before it starts.
    """
    from rlhf.data.folder import verify_split

    dataset = verify_split(folder)
    typer.echo(f"{folder} is whole and leaks nothing: digest {dataset.digest}")


@app.command("export")
def export_dataset(
    folder: FolderArgument,
    to: Annotated[Format, typer.Option(help="Whose format.")],
    out: Annotated[Path, typer.Option(help="Folder that receives train and held_out.")],
) -> None:
    """Write a dataset in the format of another program.

    Example: [bold]python -m rlhf dataset export data/datasets/first --to trl --out export[/]
    """
    from rlhf.data.export import export

    for path, (pairs, others) in export(folder, to.value, out).items():
        left = f", {others} left out because they do not fit {to.value}" if others else ""
        typer.echo(f"{path}: {pairs} rows{left}")


def _print(report: Report) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    if not report.findings:
        return
    table = Table("", "what", "how often", "where")
    for finding in report.findings:
        style = "red" if finding.level == "error" else "yellow"
        more = [f"and {finding.count - len(finding.examples)} more"]
        where = [*finding.examples, *(more if finding.count > len(finding.examples) else [])]
        table.add_row(
            Text(finding.level, style=style), finding.rule, str(finding.count), Text("\n".join(where))
        )
    Console().print(table)
