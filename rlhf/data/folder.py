"""A dataset as a folder that is complete or absent: manifest, training and held-out rows, card.

The digest is that of the rows and of what was done to them. Equal files give equal folders, byte for byte,
whatever their order and the machine. A folder is never changed: other data are another folder. One whose rows
had to go is withdrawn (`withdraw.py`): its manifest stays, with counts, digests and the reason.
"""

import fcntl
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Generic, TypeVar, get_args

from rlhf.data.card import card
from rlhf.data.kinds import kind_of
from rlhf.data.split import KEYS, Key, refuse_crossing
from rlhf.errors import BadRecords, DatasetError
from rlhf.records import canonical, scan_shape
from rlhf.shapes import AnyRow

FORMAT = 1
MANIFEST, TRAIN, HELD_OUT, CARD = "manifest.json", "train.jsonl", "held_out.jsonl", "README.md"
Row = TypeVar("Row", bound=AnyRow)


@dataclass(frozen=True)
class Dataset(Generic[Row]):
    """A dataset folder that was read and found to be what its manifest says."""

    folder: Path
    manifest: dict[str, Any]
    train: list[Row]
    held_out: list[Row]

    @property
    def digest(self) -> str:
        """Names the content."""
        return str(self.manifest["digest"])


def digest(
    train: Sequence[AnyRow],
    held_out: Sequence[AnyRow],
    transform: dict[str, Any],
    kind: str = "preference",
) -> str:
    """SHA-256 of the rows of both sides and of how they came about, whatever their order."""
    sides = [sorted(row.digest() for row in side) for side in (train, held_out)]
    return sha256(canonical([FORMAT, kind, *sides, transform])).hexdigest()


def write_dataset(
    folder: Path, train: Sequence[AnyRow], held_out: Sequence[AnyRow], facts: dict[str, Any]
) -> dict[str, Any]:
    """Write a dataset, all of it or nothing; gives the manifest.

    Args:
        folder: must not exist, or hold the same dataset already.
        facts: further keys of the manifest, with `kind`, `transform` and `parents`.

    Raises:
        DatasetError: the folder holds something else, or cannot be written.
    """
    own = digest(train, held_out, facts["transform"], facts["kind"])
    rows = {"train": len(train), "held_out": len(held_out)}
    manifest = {"format": FORMAT, "digest": own, "rows": rows, **facts}
    if folder.exists():
        return _same_or_refuse(folder, own)
    files = {
        MANIFEST: json.dumps(manifest, indent=1, sort_keys=True) + "\n",
        TRAIN: "".join(row.line() + "\n" for row in train),
        HELD_OUT: "".join(row.line() + "\n" for row in held_out),
        CARD: card(manifest, train, held_out),
    }
    try:
        _write_at_once(folder, files)
    except OSError as error:
        raise DatasetError(f"{folder} cannot be written: {error.strerror or error}") from error
    return manifest


def read_dataset(folder: Path) -> Dataset[Any]:
    """A dataset whose files are those that the manifest describes; its rows are of the manifest's kind.

    Raises:
        DatasetError: it was withdrawn, or a file is absent, damaged or was changed.
    """
    refuse_withdrawn(folder)
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DatasetError(f"{folder} is no whole dataset: {error}") from error
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise DatasetError(f"{folder / MANIFEST} does not describe a dataset in format {FORMAT}")
    kind = kind_of(manifest.get("kind"))
    try:
        train, held_out = (scan_shape(folder / name, kind.row).whole() for name in (TRAIN, HELD_OUT))
    except (OSError, BadRecords) as error:
        raise DatasetError(f"{folder} is no whole dataset: {error}") from error
    if digest(train, held_out, manifest.get("transform", {}), kind.name) != manifest.get("digest"):
        raise DatasetError(f"{folder} was changed after it was built; build it again")
    return Dataset(folder, manifest, train, held_out)


def withdrawal(folder: Path) -> dict[str, Any] | None:
    """`at`, `reason` and `rows` of a dataset that was withdrawn; None where it was not."""
    try:
        found = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))["withdrawn"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return dict(found)


def manifest_digest(folder: Path) -> str:
    """The digest that a dataset's manifest says, withdrawn or not. OSError, DatasetError."""
    try:
        return str(json.loads((folder / MANIFEST).read_text(encoding="utf-8"))["digest"])
    except (ValueError, KeyError, TypeError) as error:
        raise DatasetError(f"{folder} has a manifest without a digest") from error


def told(gone: dict[str, Any]) -> str:
    """A withdrawal in words, to follow the name of a dataset."""
    return f"was withdrawn on {str(gone['at'])[:10]} because {gone['reason']}; make another one, without them"


def refuse_withdrawn(folder: Path) -> None:
    """Raises DatasetError where a dataset was withdrawn."""
    if gone := withdrawal(folder):
        raise DatasetError(f"the dataset {folder.name[:12]} {told(gone)}")


def verify_split(folder: Path) -> Dataset[Any]:
    """Make sure that training shows nothing of what is held out.

    Prompts and sessions are compared always, users unless the dataset was built to let them cross.

    Raises:
        Leak: rows that belong together are on both sides; names some.
        DatasetError: it is no whole dataset.
    """
    dataset = read_dataset(folder)
    refuse_crossing(folder, dataset.train, dataset.held_out, _keys(dataset))
    return dataset


def _keys(dataset: Dataset[Any]) -> tuple[Key, ...]:
    said = dataset.manifest["transform"].get("split_by", KEYS)
    return tuple(key for key in get_args(Key) if key in said or key != "user")


def _same_or_refuse(folder: Path, own: str) -> dict[str, Any]:
    refuse_withdrawn(folder)
    try:
        there = read_dataset(folder)
    except DatasetError as error:
        raise DatasetError(f"{folder} exists already and is something else; choose another folder") from error
    if there.digest != own:
        raise DatasetError(
            f"{folder} holds the dataset {there.digest[:12]}, not {own[:12]}; choose another folder"
        )
    return there.manifest


def remove_partials(root: Path) -> list[str]:
    """Remove what killed builds left below a folder of datasets; gives the names. What a build that lives
    is writing stays: it holds a lock on it.
    """
    removed = []
    for partial in sorted(root.glob(".*.partial-*")):
        with _held(partial) as ours:
            if ours:
                shutil.rmtree(partial, ignore_errors=True)
                removed.append(partial.name)
    return removed


def _write_at_once(folder: Path, files: dict[str, str]) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    remove_partials(folder.parent)
    while True:
        partial = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}.partial-"))
        with _held(partial) as ours:
            # Another process may have taken it for a leftover before it was locked.
            if ours and partial.is_dir():
                _fill(partial, folder, files)
                return


def _fill(partial: Path, folder: Path, files: dict[str, str]) -> None:
    try:
        partial.chmod(0o755)
        for name, text in files.items():
            with (partial / name).open("wb") as file:
                file.write(text.encode())
                file.flush()
                os.fsync(file.fileno())
        _sync(partial)
        partial.rename(folder)
        _sync(folder.parent)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


@contextmanager
def _held(folder: Path) -> Iterator[bool]:
    """A lock on a folder, which the system drops when its holder dies; False where another one has it."""
    try:
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:
        yield False
        return
    try:
        yield _locked(handle)
    finally:
        os.close(handle)


def _locked(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
