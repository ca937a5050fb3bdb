"""Forget a user in everything that this room keeps below a folder: datasets, copies of rows, lineage.

Looked at are ROOT and two levels below it, so that an installation's DATA and the OUT of a `retrain` are
places of the same form: PLACE/datasets, PLACE/steps, PLACE/adapters. Any number of times, with the same end.
"""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rlhf.data.folder import manifest_digest, remove_partials, withdrawal
from rlhf.data.withdraw import ENDINGS, Person, clear, is_dataset, kept, row_files, seen, withdraw
from rlhf.errors import DatasetError
from rlhf.pipelines.outputs import RECORD
from rlhf.registry import Registry, Version
from rlhf.report import JSON as REPORT
from rlhf.report import silence

REASON = "somebody whose rows it held was forgotten"
DELETE = "Delete it if it may hold rows of this user."


@dataclass
class Forgotten:
    """What was done.

    Attributes:
        withdrawn: `digest`, `kind`, `rows` (all are gone), `theirs`, and `adapters` that were trained on it.
        copies: outputs of steps with copies of rows, or with answers to them; they are made again where they
            are needed.
        reports: of adapters that learnt from such rows; they show no answers any more.
        adapters: `name`, `version` of each version whose lineage no longer names the user.
        unattributed: `digest`, `rows` of datasets with rows that name nobody: nobody can tell whose they are.
        unreached: `what`, `why`, `remedy`.
    """

    withdrawn: list[dict[str, Any]] = field(default_factory=list)
    copies: int = 0
    reports: int = 0
    adapters: list[dict[str, str]] = field(default_factory=list)
    unattributed: list[dict[str, Any]] = field(default_factory=list)
    unreached: list[dict[str, str]] = field(default_factory=list)

    def missed(self, what: str, why: object, remedy: str) -> None:
        """Say what could not be looked at or changed."""
        text = why.strerror or type(why).__name__ if isinstance(why, OSError) else str(why)
        self.unreached.append({"what": what, "why": text or type(why).__name__, "remedy": remedy})


def forget(root: Path, person: Person) -> Forgotten:
    """Withdraw every dataset with a row of theirs, delete copies, and put a pseudonym into the lineage."""
    done = Forgotten()
    places = list(_places(root))
    learnt = _learnt(places)
    for place in places:
        for folder in _folders(place / "datasets", done):
            _dataset(folder, person, places, learnt, done)
        for folder in _inside(place / "steps"):
            _step(folder, person, done)
        _lineage(place, person.user, done)
    return done


def _places(root: Path) -> Iterator[Path]:
    for place in (root, *sorted(root.glob("*")), *sorted(root.glob("*/*"))):
        if place.is_dir():
            yield place


def _inside(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []


def _learnt(places: list[Path]) -> dict[str, list[Version]]:
    """Adapters by the digest of the dataset that they were trained on."""
    found: dict[str, list[Version]] = {}
    for registry in map(Registry, places):
        for version in (v for name in registry.names() for v in registry.versions(name)):
            digest = str(version.lineage().get("dataset_digest", "")).removeprefix("sha256:")
            found.setdefault(digest, []).append(version)
    return found


def _folders(root: Path, done: Forgotten) -> Iterator[Path]:
    """Datasets below a folder. What a build that lives is writing is told."""
    if not root.is_dir():
        return
    remove_partials(root)
    for folder in _inside(root):
        if ".partial-" in folder.name:
            done.missed("a dataset", "it is being built now", "Run the erasure again when its job has ended.")
        elif is_dataset(folder):
            yield folder


def _dataset(
    folder: Path, person: Person, places: list[Path], learnt: dict[str, list[Version]], done: Forgotten
) -> None:
    name = folder.name[:12]
    try:
        if withdrawal(folder):
            clear(folder)  # what a kill in the middle of it left
            _silence(places, learnt.get(manifest_digest(folder), []), done)  # what a full disk had kept
            return
        found = seen(row_files(folder), person)
        if found.theirs:
            entry = kept(folder, found)
            versions = learnt.get(entry["digest"], [])
            # Before the rows: after a kill in between they are found again, and with them what is left here.
            _silence(places, versions, done)
            for place in places:
                _quiet(place, done)
            _evaluations(places, done)
            withdraw(folder, found, REASON)
            about = {name: entry[name] for name in ("digest", "kind")}
            adapters = [f"{version.name}@{version.short}" for version in versions]
            done.withdrawn.append({**about, "rows": found.rows, "theirs": found.theirs, "adapters": adapters})
        elif found.nobodys:
            done.unattributed.append({"digest": folder.name, "rows": found.nobodys})
    except (DatasetError, OSError, MemoryError) as error:
        done.missed(f"dataset {name}", error, DELETE)


def _silence(places: list[Path], versions: list[Version], done: Forgotten) -> None:
    """Take answers out of the reports of these versions and their heirs."""
    digests = {version.digest for version in versions}
    for place in places if digests else ():
        for version in Registry(place).with_heirs(digests):
            _quiet(version.folder, done)


def _quiet(folder: Path, done: Forgotten) -> None:
    try:
        done.reports += silence(folder)
    except OSError as error:
        done.missed(f"the report in {folder.name}", error, "Make room, then run the erasure again.")


def _evaluations(places: list[Path], done: Forgotten) -> None:
    """Delete outputs of steps that hold answers."""
    for output in sorted(path for place in places for path in (place / "steps").glob("*")):
        records = [output / RECORD, output / REPORT] if output.is_dir() else [output]
        try:
            if any(file.is_file() and b'"answers"' in file.read_bytes() for file in records):
                shutil.rmtree(output) if output.is_dir() else output.unlink()
                done.copies += 1
        except OSError as error:
            done.missed(f"the output of step {output.name[:13]}", error, DELETE)


def _step(folder: Path, person: Person, done: Forgotten) -> None:
    """A copy of rows goes with its folder: a step's output is there whole or not at all."""
    files = [file for file in folder.rglob("*") if file.is_file() and file.suffix in ENDINGS]
    try:
        if any(_holds(file, person) for file in files):
            shutil.rmtree(folder)
            done.copies += 1
    except (OSError, MemoryError) as error:
        done.missed(f"the output of step {folder.name[:13]}", error, DELETE)


def _holds(file: Path, person: Person) -> bool:
    try:
        return seen([file], person).theirs > 0
    except DatasetError:
        # A step may write what is no table of rows; but rows that it took as they were are.
        return file.stem == "rows" and (file.parent / RECORD).is_file()


def _lineage(place: Path, user: str, done: Forgotten) -> None:
    try:
        versions = Registry(place).forget(user)
        done.adapters += [{"name": version.name, "version": version.short} for version in versions]
    except (OSError, ValueError, KeyError) as error:
        done.missed(f"adapters in {place.name}", error, "Mend the file, then run the erasure again.")
