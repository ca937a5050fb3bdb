"""How much of rows is read at once: they are checked and split in memory, at several times their size."""

from collections.abc import Sequence
from pathlib import Path

from rlhf.errors import DatasetError

MEGABYTES = 500
"""Unless RLHF_ROWS_MEGABYTES says otherwise."""


def refuse_large(files: Sequence[Path], megabytes: int = MEGABYTES) -> None:
    """Look at sizes before anything is read. DatasetError where the files are larger together.

    A file that is not there is told by whoever opens it.
    """
    sizes = {file: file.stat().st_size / 2**20 for file in files if file.is_file()}
    total = sum(sizes.values())
    if total <= megabytes:
        return
    largest = max(sizes, key=lambda file: sizes[file])
    beside = f", {total:,.1f} MB with the other files" if len(sizes) > 1 else ""
    raise DatasetError(
        f"{largest} has {sizes[largest]:,.1f} MB{beside}; at most {megabytes:,} MB are read at once: "
        "split it up, or set RLHF_ROWS_MEGABYTES to more and have about ten times as much memory"
    )
