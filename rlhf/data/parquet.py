"""Rows of a Parquet file: the columns of JSON lines, or text columns as in CSV files."""

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from rlhf.data.kinds import KINDS
from rlhf.records import BadRow

BATCH = 256
"""Rows that are decoded at a time."""
OPTIONAL = frozenset(name for kind in KINDS.values() for name in kind.more)


def parquet_columns(path: Path, bad: list[BadRow]) -> Iterator[tuple[int, dict[str, Any]]]:
    """(number from 1, columns) of the rows of a Parquet file, without nulls and empty texts of provenance.

    Raises:
        OSError: the file cannot be opened or read.
    """
    try:
        for number, value in enumerate(parquet_rows(path), 1):
            yield number, _columns(value)
    except ValueError as error:
        bad.append(BadRow(str(path), 0, str(error)))


def parquet_rows(path: Path) -> Iterator[dict[str, Any]]:
    """The rows as plain values, a batch in memory at a time.

    Raises:
        ValueError: it is no Parquet file, is damaged, or takes more memory than there is.
    """
    import pyarrow
    from pyarrow.parquet import ParquetFile

    try:
        with ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=BATCH, use_threads=False):
                yield from batch.to_pylist()
    except MemoryError as error:
        raise ValueError("needs more memory to read than it may have") from error
    except (pyarrow.ArrowException, UnicodeDecodeError, OSError) as error:
        if isinstance(error, OSError) and error.errno:
            raise
        raise ValueError(f"is no Parquet file that can be read: {str(error).splitlines()[0]}") from error


def _columns(value: dict[str, Any]) -> dict[str, Any]:
    """One row's columns; nulls are absent, as a table has all columns in every row."""
    found = {name: _plain(cell) for name, cell in value.items() if cell is not None}
    return {name: cell for name, cell in found.items() if name not in OPTIONAL or cell != ""}


def _plain(cell: Any) -> Any:
    """A list of structs has every field in every struct: those that are null were not there."""
    if isinstance(cell, dict):
        return {name: _plain(value) for name, value in cell.items() if value is not None}
    if isinstance(cell, list):
        return [_plain(value) for value in cell]
    return cell.isoformat() if isinstance(cell, datetime) else cell
