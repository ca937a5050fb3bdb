"""From files of preferences to a dataset folder: read, redact, check, leave out, split, write."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rlhf.data.check import Placed, Report, check_rows, content_key
from rlhf.data.folder import digest, write_dataset
from rlhf.data.limit import MEGABYTES, refuse_large
from rlhf.data.near import THRESHOLD
from rlhf.data.parquet import scan_parquet
from rlhf.data.pii import redact_row
from rlhf.data.split import KEYS, Key, split
from rlhf.data.table import scan_csv
from rlhf.errors import BadRecords, DatasetError
from rlhf.records import BadRow, PreferenceRow, Scan, scan_jsonl
from rlhf.registry import file_sha256

READERS: dict[str, Callable[[Path], Scan]] = {".csv": scan_csv, ".tsv": scan_csv, ".parquet": scan_parquet}
"""By ending; everything else is JSON lines."""


@dataclass(frozen=True)
class Plan:
    """How a dataset is made.

    Attributes:
        held_out: share of the rows that nobody trains on.
        split_by: what keeps rows on one side.
    """

    held_out: float = 0.2
    seed: int = 0
    redact_pii: bool = False
    split_by: tuple[Key, ...] = KEYS


def read_files(files: Sequence[Path], megabytes: int = MEGABYTES) -> tuple[list[Placed], list[BadRow]]:
    """Rows of JSON-lines files and, by their ending, CSV and Parquet files.

    Raises:
        DatasetError: a file cannot be opened, or they are larger than `megabytes` together.
    """
    placed: list[Placed] = []
    bad: list[BadRow] = []
    refuse_large(files, megabytes)
    for file in files:
        try:
            scan = READERS.get(file.suffix.lower(), scan_jsonl)(file)
        except OSError as error:
            raise DatasetError(f"{file} cannot be read: {error.strerror}") from error
        placed.extend(Placed(str(file), line, row) for line, row in scan.rows)
        bad.extend(scan.bad)
    return placed, bad


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


def build_below(
    files: Sequence[Path], root: Path, plan: Plan, megabytes: int = MEGABYTES
) -> tuple[dict[str, Any], Report]:
    """The same, into the folder below `root` that the first twelve digits of the digest name."""
    train, held_out, facts, report = _planned(files, plan, megabytes)
    own = digest(train, held_out, facts["transform"])
    return write_dataset(root / own[:12], train, held_out, facts), report


def _planned(
    files: Sequence[Path], plan: Plan, megabytes: int
) -> tuple[list[PreferenceRow], list[PreferenceRow], dict[str, Any], Report]:
    placed, bad = read_files(files, megabytes)
    if bad:
        raise BadRecords(bad)
    redacted: Counter[str] = Counter()
    if plan.redact_pii:
        placed = [Placed(one.file, one.line, redact_row(one.row, redacted)) for one in placed]
    # What is found first must not depend on the order of the files.
    placed.sort(key=lambda one: one.row.line())
    report = check_rows(placed)
    useful = [one.row for at, one in enumerate(placed) if at not in report.useless]
    rows = _without_duplicates(useful)
    train, held_out = split(rows, plan.held_out, plan.seed, plan.split_by)
    facts = {
        "parents": _parents(files, placed),
        "transform": {**asdict(plan), "split_by": list(plan.split_by), "near_duplicate": THRESHOLD},
        "left_out": {"errors": len(report.useless), "duplicates": len(useful) - len(rows)},
        "findings": {f"{finding.level}: {finding.rule}": finding.count for finding in report.findings},
        "redacted": dict(redacted),
    }
    return train, held_out, facts, report


def _without_duplicates(rows: Sequence[PreferenceRow]) -> list[PreferenceRow]:
    kept: dict[bytes, PreferenceRow] = {}
    # Sorted, so that it is the same one that stays whatever the order of the files.
    for row in sorted(rows, key=PreferenceRow.line):
        kept.setdefault(content_key(row), row)
    return list(kept.values())


def _parents(files: Sequence[Path], placed: Sequence[Placed]) -> list[dict[str, Any]]:
    counts = Counter(one.file for one in placed)
    parents = [{"file": file.name, "sha256": file_sha256(file), "rows": counts[str(file)]} for file in files]
    return sorted(parents, key=lambda parent: (parent["sha256"], parent["file"]))
