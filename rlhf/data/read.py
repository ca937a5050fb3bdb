"""Files of rows of any kind and format: columns as they are written, the kind that they make, rows."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rlhf.data.kinds import KINDS, RowKind, nearest
from rlhf.data.limit import MEGABYTES, refuse_large
from rlhf.data.parquet import parquet_columns
from rlhf.data.table import csv_columns
from rlhf.data.texts import MESSAGES
from rlhf.errors import DatasetError
from rlhf.records import BadRow, Scan, decoded_lines, parsed, valid
from rlhf.shapes import AnyRow

Columns = dict[str, Any]
Prepare = Callable[[Columns], Sequence[Columns]]
"""Makes rows of what is written as one; ValueError where it cannot."""
SAID = dict.fromkeys(("up", "yes", "true", "1"), True) | dict.fromkeys(("down", "no", "false", "0"), False)
"""How a thumb is said in words."""
LOOKED_AT = 100
"""Rows of a file from which its kind is recognised."""


@dataclass(frozen=True)
class Placed:
    """A row and where it was read."""

    file: str
    line: int
    row: AnyRow

    @property
    def where(self) -> str:
        """As in compilers' messages."""
        return f"{self.file}:{self.line}"


@dataclass
class Read:
    """Rows of several files, and those that cannot be read."""

    kind: RowKind
    placed: list[Placed] = field(default_factory=list)
    bad: list[BadRow] = field(default_factory=list)


def read_files(
    files: Sequence[Path],
    kind: RowKind | None = None,
    prepare: Prepare | None = None,
    megabytes: int = MEGABYTES,
) -> Read:
    """Rows of JSON-lines files and, by their ending, CSV and Parquet files; the kind is recognised where it
    is not given. With `prepare`, files may have any columns.

    Raises:
        DatasetError: a file cannot be opened, the files are larger than `megabytes` together, or they hold
            rows of several kinds.
    """
    refuse_large(files, megabytes)
    read = Read(kind or recognised(files))
    for file in files:
        found = scan(file, read.kind, prepare)
        read.placed.extend(Placed(str(file), line, row) for line, row in found.rows)
        read.bad.extend(found.bad)
    return read


def scan(file: Path, kind: RowKind, prepare: Prepare | None = None) -> Scan[Any]:
    """Every row of a file, good and bad. DatasetError where it cannot be opened."""
    found, empty = Scan[AnyRow](), True
    for line, columns in columns_of(file, found.bad, None if prepare else kind):
        empty = False
        try:
            made = prepare(columns) if prepare else [columns]
            found.rows += [(line, row_from(one, kind)) for one in made]
        except ValueError as error:
            found.bad.append(BadRow(str(file), line, str(error)))
    if empty and not found.bad:
        found.bad.append(BadRow(str(file), 0, "has no rows"))
    return found


def columns_of(file: Path, bad: list[BadRow], kind: RowKind | None = None) -> Iterator[tuple[int, Columns]]:
    """(line, columns) of a file; what cannot be read goes to `bad`. A table is held to the kind's columns.

    Raises:
        DatasetError: the file cannot be opened.
    """
    try:
        if file.suffix.lower() in (".csv", ".tsv"):
            yield from csv_columns(file, bad, kind)
        elif file.suffix.lower() == ".parquet":
            yield from parquet_columns(file, bad)
        else:
            yield from _lines(file, bad)
    except OSError as error:
        raise DatasetError(f"{file} cannot be read: {error.strerror}") from error


def _lines(file: Path, bad: list[BadRow]) -> Iterator[tuple[int, Columns]]:
    for line, text in decoded_lines(file, bad):
        try:
            yield line, parsed(text)
        except ValueError as error:
            bad.append(BadRow(str(file), line, str(error)))


def row_from(columns: Columns, kind: RowKind) -> AnyRow:
    """A row from its columns; a text stands for one message, and a thumb may be said in words.

    Raises:
        ValueError: a column is missing, unknown or wrong; the text says which.
    """
    made = dict(columns)
    for name in MESSAGES:
        if isinstance(made.get(name), str):
            role = "user" if name == "prompt" else "assistant"
            made[name] = [{"role": role, "content": made[name]}]
    if kind.name == "kto" and isinstance(made.get("label"), str):
        made["label"] = SAID.get(made["label"].strip().lower(), made["label"])
    return valid(made, kind.row)


def recognised(files: Sequence[Path]) -> RowKind:
    """The kind that the columns of files make, or the nearest. DatasetError where there are several."""
    kinds = {file: nearest(first_columns(file)) for file in files}
    if len({kind.name for kind in kinds.values()}) > 1:
        held = ", ".join(f"{file} {kind.name}" for file, kind in kinds.items())
        raise DatasetError(
            f"the files hold rows of several kinds ({held}); build a dataset of each, or say `--kind`"
        )
    return next(iter(kinds.values()), KINDS["preference"])


def first_columns(file: Path) -> set[str]:
    """The columns that the first rows of a file have."""
    columns: set[str] = set()
    for at, (_, row) in enumerate(columns_of(file, [])):
        if at == LOOKED_AT:
            break
        columns |= set(row)
    return columns
