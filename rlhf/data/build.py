"""From files of rows to a dataset folder: read, prepare, redact, check, leave out, split, write."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlhf.data.asking import from_settings
from rlhf.data.check import Report, check_rows, content_key
from rlhf.data.columns import Map, made_by, refuse_unknown
from rlhf.data.folder import digest, write_dataset
from rlhf.data.kinds import Name, RowKind, kind_of, nearest
from rlhf.data.limit import MEGABYTES, refuse_large
from rlhf.data.near import THRESHOLD
from rlhf.data.pii import configured, redact_row
from rlhf.data.read import Placed, first_columns, read_files, recognised
from rlhf.data.split import KEYS, Key, split
from rlhf.data.step import Means, Sides, SideStep, Step, Watch
from rlhf.data.steps import Preparation, Template, declared, refuse_unfit
from rlhf.data.texts import Kept, texts_of
from rlhf.data.tokens import Tokens
from rlhf.errors import BadRecords, RecipeError
from rlhf.methods import known
from rlhf.registry import file_sha256
from rlhf.shapes import AnyRow


@dataclass(frozen=True)
class Plan:
    """How a dataset is made.

    Attributes:
        held_out: share of the rows that nobody trains on.
        split_by: what keeps rows on one side.
        kind: of the rows; None recognises it.
        steps: what is done to rows before they are checked.
        base: transformers folder whose tokenizer counts; None is that of the method that reads the kind.
        origin: how rows came about that were made of documents: `by` whom, with which settings and counts.
    """

    held_out: float = 0.2
    seed: int = 0
    redact_pii: bool = False
    split_by: tuple[Key, ...] = KEYS
    kind: Name | None = None
    steps: tuple[Step, ...] = ()
    base: Path | None = None
    origin: dict[str, Any] | None = None

    def transform(self, tokens: Tokens) -> dict[str, Any]:
        """What was done, for the manifest; the digest depends on it."""
        done: dict[str, Any] = {
            "held_out": self.held_out,
            "seed": self.seed,
            "redact_pii": self.redact_pii,
            "split_by": list(self.split_by),
            "near_duplicate": THRESHOLD,
        }
        # Only where there are some: without, the digest is what it always was.
        if self.redact_pii:
            done["redacted_by"] = configured().facts
        if self.origin:
            done["origin"] = {"by": self.origin["by"], **self.origin["settings"]}
        return done | ({"steps": declared(self.steps), "tokens_by": tokens.by} if self.steps else {})


def build(
    files: Sequence[Path], out: Path, plan: Plan, megabytes: int = MEGABYTES
) -> tuple[dict[str, Any], Report]:
    """Build a dataset; gives its manifest and what was found in the files.

    Raises:
        BadRecords: a row cannot be read; nothing is built.
        DatasetError: too much to read, too little is left to split, or `out` cannot be written.
    """
    train, held_out, facts, report = _planned(files, plan, megabytes)
    return write_dataset(out, train, held_out, facts), report


def _unwatched(done: float, text: str) -> None:
    """Nobody waits."""


def build_below(
    files: Sequence[Path], root: Path, plan: Plan, megabytes: int = MEGABYTES, watch: Watch = _unwatched
) -> tuple[dict[str, Any], Report]:
    """The same, into the folder below `root` that the first twelve digits of the digest name."""
    train, held_out, facts, report = _planned(files, plan, megabytes, watch)
    own = digest(train, held_out, facts["transform"], facts["kind"])
    return write_dataset(root / own[:12], train, held_out, facts), report


def counter_of(kind: Name, base: Path | None = None) -> Tokens:
    """Counts as the base does that rows of a kind are trained on, where nobody names another one."""
    try:
        return Tokens(base or known(kind_of(kind).methods[0]).base())
    except RecipeError:
        # The package that holds the base is not there.
        return Tokens()


def token_facts(train: Sequence[AnyRow], held_out: Sequence[AnyRow], tokens: Tokens) -> dict[str, Any]:
    """For the manifest: tokens of all texts of each side, and what counted them."""
    sides = {"train": train, "held_out": held_out}
    counts = {name: sum(map(tokens.count, _texts(rows))) for name, rows in sides.items()}
    return {**counts, "by": tokens.by}


def _planned(
    files: Sequence[Path], plan: Plan, megabytes: int, watch: Watch = _unwatched
) -> tuple[list[AnyRow], list[AnyRow], dict[str, Any], Report]:
    # Before the kind is recognised, which opens them.
    refuse_large(files, megabytes)
    kind = kind_planned(files, plan)
    tokens = counter_of(kind.name, plan.base)
    preparation = Preparation(plan.steps, tokens)
    read = read_files(files, kind, preparation if plan.steps else None, megabytes)
    refuse_misspelt(files, preparation)
    if read.bad:
        raise BadRecords(read.bad)
    redacted: Counter[str] = Counter()
    placed = read.placed
    if plan.redact_pii:
        placed = [Placed(one.file, one.line, redact_row(one.row, redacted)) for one in placed]
    # What is found first must not depend on the order of the files.
    placed.sort(key=lambda one: one.row.line())
    report = check_rows(placed)
    useful = [one.row for at, one in enumerate(placed) if at not in report.useless]
    rows = without_duplicates(useful)
    train, held_out = split(rows, plan.held_out, plan.seed, plan.split_by)
    train, held_out, more = _enriched(train, held_out, plan, watch)
    facts = {
        "kind": read.kind.name,
        "parents": _parents(files, placed),
        "transform": plan.transform(tokens),
        "left_out": {"errors": len(report.useless), "duplicates": len(useful) - len(rows)},
        "findings": {f"{finding.level}: {finding.rule}": finding.count for finding in report.findings},
        "redacted": dict(redacted),
        "tokens": token_facts(train, held_out, tokens),
    }
    if plan.steps:
        facts["steps"] = preparation.report() + more
    if plan.origin:
        facts["origin"] = plan.origin
    return train, held_out, facts, report


def _enriched(
    train: list[AnyRow], held_out: list[AnyRow], plan: Plan, watch: Watch
) -> tuple[list[AnyRow], list[AnyRow], list[dict[str, Any]]]:
    """Both sides after the steps on sides, and what each of these did."""
    sides, report = Sides(train, held_out), []
    means = Means(plan.seed, from_settings, watch)
    for step in plan.steps:
        if isinstance(step, SideStep):
            counts: Counter[str] = Counter()
            sides, by = step.apply(sides, means, counts)
            report.append({"step": step.NAME, **counts, **({"by": by} if by else {})})
    if not report:
        return train, held_out, []
    held = sorted(sides.held_out, key=lambda row: row.line())
    return without_duplicates(sides.train), held, report


def refuse_misspelt(files: Sequence[Path], preparation: Preparation) -> None:
    """Whoever misspells a column is told so, and not in every row what it lacks. DatasetError."""
    for step, counts in zip(preparation.steps, preparation.counts, strict=True):
        if isinstance(step, Map) and any(
            counts["rows"] and counts[f"without {source}"] == counts["rows"]
            for source in step.columns.values()
        ):
            columns = set().union(*map(first_columns, files))
            absent = {s for s in step.columns.values() if counts[f"without {s}"] == counts["rows"]}
            refuse_unknown(step, columns - absent, ", ".join(map(str, files)))


def kind_planned(files: Sequence[Path], plan: Plan) -> RowKind:
    """The kind that the plan names, that a template or mapping makes, or that files hold. DatasetError."""
    made = next((set(step.columns) for step in plan.steps if isinstance(step, Template)), set())
    made = made or made_by(plan.steps, first_columns(files[0]) if files and not plan.kind else ())
    kind = kind_of(plan.kind) if plan.kind else nearest(made) if made else recognised(files)
    refuse_unfit(plan.steps, kind.name)
    return kind


def _texts(rows: Sequence[AnyRow]) -> Iterator[str]:
    return (text for row in rows for text in texts_of(row))


def without_duplicates(rows: Sequence[Kept]) -> list[Kept]:
    """One of those that teach the same, in an order that the content gives."""
    kept: dict[bytes, Kept] = {}
    # Sorted, so that it is the same one that stays whatever the order of the files.
    for row in sorted(rows, key=lambda row: row.line()):
        kept.setdefault(content_key(row), row)
    return list(kept.values())


def _parents(files: Sequence[Path], placed: Sequence[Placed]) -> list[dict[str, Any]]:
    counts = Counter(one.file for one in placed)
    parents = [{"file": file.name, "sha256": file_sha256(file), "rows": counts[str(file)]} for file in files]
    return sorted(parents, key=lambda parent: (parent["sha256"], parent["file"]))
