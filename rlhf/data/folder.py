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
from typing import Any, get_args

from rlhf.data.card import card
from rlhf.data.split import KEYS, Key, links
from rlhf.errors import BadRecords, DatasetError, Leak
from rlhf.records import PreferenceRow, canonical, read_jsonl

FORMAT = 1
MANIFEST, TRAIN, HELD_OUT, CARD = "manifest.json", "train.jsonl", "held_out.jsonl", "README.md"
SHOWN = 5


@dataclass(frozen=True)
class Dataset:
    """A dataset folder that was read and found to be what its manifest says."""

    folder: Path
    manifest: dict[str, Any]
    train: list[PreferenceRow]
    held_out: list[PreferenceRow]

    @property
    def digest(self) -> str:
        """Names the content."""
        return str(self.manifest["digest"])


def digest(
    train: Sequence[PreferenceRow], held_out: Sequence[PreferenceRow], transform: dict[str, Any]
) -> str:
    """SHA-256 of the rows of both sides and of how they came about, whatever their order."""
    sides = [sorted(row.digest() for row in side) for side in (train, held_out)]
    return sha256(canonical([FORMAT, "preference", *sides, transform])).hexdigest()


def write_dataset(
    folder: Path, train: Sequence[PreferenceRow], held_out: Sequence[PreferenceRow], facts: dict[str, Any]
) -> dict[str, Any]:
    """Write a dataset, all of it or nothing; gives the manifest.

    Args:
        folder: must not exist, or hold the same dataset already.
        facts: further keys of the manifest, with `transform` and `parents`.

    Raises:
        DatasetError: the folder holds something else, or cannot be written.
    """
    own = digest(train, held_out, facts["transform"])
    rows = {"train": len(train), "held_out": len(held_out)}
    manifest = {"format": FORMAT, "kind": "preference", "digest": own, "rows": rows, **facts}
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


def read_dataset(folder: Path) -> Dataset:
    """A dataset whose files are those that the manifest describes.

    Raises:
        DatasetError: it was withdrawn, or a file is absent, damaged or was changed.
    """
    refuse_withdrawn(folder)
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        train, held_out = (read_jsonl(folder / name) for name in (TRAIN, HELD_OUT))
    except (OSError, ValueError, BadRecords) as error:
        raise DatasetError(f"{folder} is no whole dataset: {error}") from error
    if not isinstance(manifest, dict) or (manifest.get("format"), manifest.get("kind")) != (
        FORMAT,
        "preference",
    ):
        raise DatasetError(f"{folder / MANIFEST} does not describe preferences in format {FORMAT}")
    if digest(train, held_out, manifest.get("transform", {})) != manifest.get("digest"):
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


def verify_split(folder: Path) -> Dataset:
    """Make sure that training shows nothing of what is held out; to be called before each training run.

    Prompts and sessions are compared always, users unless the dataset was built to let them cross.

    Raises:
        Leak: rows that belong together are on both sides; names some.
        DatasetError: it is no whole dataset.
    """
    dataset = read_dataset(folder)
    rows = [*dataset.train, *dataset.held_out]
    border = len(dataset.train)
    found = [(a, b, key) for a, b, key in links(rows, _keys(dataset)) if (a < border) != (b < border)]
    if found:
        shown = "\n".join(_leak(rows[a], rows[b], key) for a, b, key in found[:SHOWN])
        more = f"\nand {len(found) - SHOWN} more" if len(found) > SHOWN else ""
        raise Leak(
            f"{folder} trains on what it is examined on; build it again with `dataset build`:\n{shown}{more}"
        )
    return dataset


def _keys(dataset: Dataset) -> tuple[Key, ...]:
    said = dataset.manifest["transform"].get("split_by", KEYS)
    return tuple(key for key in get_args(Key) if key in said or key != "user")


def _leak(one: PreferenceRow, other: PreferenceRow, key: Key) -> str:
    what = {"prompt": "nearly the same prompt", "session": "one session", "user": "one user"}[key]
    return f"  pairs {one.pair_id} and {other.pair_id} are of {what}"


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
