"""Datasets on the disk, by what is in them: names and paths of users never become paths here.

OBJECTS/datasets/SHA256/data.FORMAT is an uploaded file, OBJECTS/datasets/DIGEST12/ a dataset that was built.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from gateway.datasets.store import Dataset
from rlhf.data.folder import remove_partials
from rlhf.objects.depot import Depot, LocalDepot

SHORT = 12
PARTS = {
    "train": "train.jsonl",
    "held_out": "held_out.jsonl",
    "manifest": "manifest.json",
    "card": "README.md",
}


class Files:
    """The folder of datasets. Every method blocks.

    Args:
        root: OBJECTS/datasets.
        exports: folder of what was made for a download.
        depot: where other machines find the datasets; on this one alone without it.
    """

    def __init__(self, root: Path, exports: Path, depot: Depot | None = None) -> None:
        self.root, self.exports = root, exports
        self._depot = depot or LocalDepot(root)

    def prepare(self) -> None:
        """Make the folders, and remove what uploads and builds that were killed left half-way."""
        for folder in (self.root, self.exports):
            folder.mkdir(parents=True, exist_ok=True)
        for part in self.root.glob(".*.part"):
            part.unlink(missing_ok=True)
        remove_partials(self.root)

    def folder(self, row: Dataset) -> Path:
        """Where a dataset lies."""
        return self.root / (row.digest if row.kind == "file" else row.digest[:SHORT])

    def source(self, row: Dataset) -> Path:
        """The file of an uploaded dataset."""
        return self.folder(row) / f"data.{row.format}"

    def take(self, part: Path, digest: str, form: str) -> None:
        """Give an uploaded file its place; equal content may be there already."""
        folder = self.root / digest
        folder.mkdir(exist_ok=True)
        part.replace(folder / f"data.{form}")
        if form == "jsonl" and not (folder / PARTS["train"]).exists():
            # Where trainers look for rows, so that a file can be trained on as it is.
            os.link(folder / f"data.{form}", folder / PARTS["train"])

    def keep(self, digest: str) -> None:
        """Let other machines find an uploaded file. ObjectError."""
        self._depot.keep(self.root / digest)

    def bring(self, row: Dataset) -> None:
        """Let a dataset be on this machine, if it is anywhere. ObjectError."""
        self._depot.bring(self.folder(row))

    def part(self, row: Dataset, part: str) -> Path:
        """A file of a dataset as it is."""
        return self.source(row) if row.kind == "file" else self.folder(row) / PARTS[part]

    def export_folder(self, row: Dataset, target: str) -> Path:
        """Where a download in another format is made."""
        return self.exports / row.digest[:SHORT] / target

    def bytes_of(self, row: Dataset) -> int:
        """Of everything in a dataset's folder."""
        return sum(file.stat().st_size for file in self.folder(row).iterdir())

    def drop(self, row: Dataset) -> None:
        """Delete a content where other machines find it. ObjectError, and it is still there."""
        self._depot.drop(self.folder(row))

    def remove(self, row: Dataset) -> None:
        """Delete a content here that no row holds any more."""
        shutil.rmtree(self.folder(row), ignore_errors=True)
        self.remove_exports(row)

    def remove_exports(self, row: Dataset) -> None:
        """Delete what was made of a dataset for downloads."""
        shutil.rmtree(self.exports / row.digest[:SHORT], ignore_errors=True)
