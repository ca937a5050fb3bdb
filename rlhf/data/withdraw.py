"""Whose rows a dataset holds, and what is left of it once it must not hold them any more.

A dataset is named by its content, so rows are never taken out of one: all of them go, and the manifest stays
with counts, digests and the reason, so that an adapter's lineage still leads to something.
"""

import json
import re
import shutil
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rlhf.data.folder import FORMAT, MANIFEST
from rlhf.data.inspect import infer, rows_of
from rlhf.data.table import bare
from rlhf.registry import write

TRACES = ("trace", "chosen_trace", "rejected_trace")
"""Columns that name the generation that a text is taken from."""
ENDINGS = (".jsonl", ".csv", ".tsv", ".parquet")
UPLOADED = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Person:
    """Somebody whose rows are looked for: by id, and by the ids of traces that they took part in."""

    user: str
    traces: Collection[str] = frozenset()

    def gave(self, row: dict[str, Any]) -> bool:
        """Whether a row is theirs."""
        cell = row.get("user")
        if cell is not None and self.user in (str(cell), bare(str(cell))):
            return True
        named = (row.get(column) for column in TRACES)
        return any(isinstance(trace, dict) and trace.get("trace_id") in self.traces for trace in named)


@dataclass(frozen=True)
class Seen:
    """What files of rows hold. `nobodys`: rows that name no user, and lines that cannot be read."""

    rows: int
    theirs: int
    nobodys: int


def seen(files: Collection[Path], person: Person) -> Seen:
    """Count the rows of files, whatever their shape. DatasetError where one cannot be read, OSError."""
    rows = theirs = nobodys = 0
    for file in files:
        for _, row in rows_of(file, infer(file)) if file.stat().st_size else ():
            rows += 1
            if isinstance(row, dict) and person.gave(row):
                theirs += 1
            elif isinstance(row, str) or row.get("user") in (None, ""):
                nobodys += 1
    return Seen(rows, theirs, nobodys)


def is_dataset(folder: Path) -> bool:
    """Whether a folder is one that was built, or holds a file that was uploaded."""
    return folder.is_dir() and ((folder / MANIFEST).is_file() or bool(UPLOADED.fullmatch(folder.name)))


def row_files(folder: Path) -> list[Path]:
    """Files of rows of a dataset, each content once: an uploaded file may have a second name for trainers."""
    files = sorted(file for file in folder.iterdir() if file.suffix in ENDINGS)
    return [file for file in files if file.stem == "data"] or files


def withdraw(folder: Path, found: Seen, reason: str) -> None:
    """Take all rows out of a dataset; its manifest stays. OSError.

    May be asked again: the manifest says that it is withdrawn before the first file goes.
    """
    manifest = {**kept(folder, found), "withdrawn": {"at": now(), "reason": reason, "rows": found.theirs}}
    write(folder / MANIFEST, manifest)
    clear(folder)


def clear(folder: Path) -> None:
    """Remove everything but the manifest."""
    for path in folder.iterdir():
        if path.name == MANIFEST:
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def now() -> str:
    """UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def kept(folder: Path, found: Seen) -> dict[str, Any]:
    """What stays of a dataset, counts and digests: names of files may say whose they are."""
    try:
        manifest = dict(json.loads((folder / MANIFEST).read_text(encoding="utf-8")))
        parents = [{name: parent[name] for name in ("sha256", "rows")} for parent in manifest["parents"]]
        return {**{name: manifest[name] for name in ("format", "kind", "digest", "rows")}, "parents": parents}
    except (OSError, ValueError, KeyError, TypeError):
        kind = "file" if UPLOADED.fullmatch(folder.name) else "preference"
        return {"format": FORMAT, "kind": kind, "digest": folder.name, "rows": found.rows}
