"""What is kept: datasets, versions of the registry, outputs of steps; and the checkpoints of trainings."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from rlhf.data.folder import MANIFEST, read_dataset, withdrawal
from rlhf.data.withdraw import UPLOADED
from rlhf.errors import ObjectError
from rlhf.objects.bucket import open_bucket
from rlhf.objects.depot import BucketDepot, Depot, LocalDepot
from rlhf.objects.settings import Settings
from rlhf.products import ADAPTER
from rlhf.registry import CONTENT, LINEAGE, digest_of, file_sha256

AGAIN = "delete it, and make it again"
WHOLE = (MANIFEST, LINEAGE)
"""What a folder has that is a dataset or a version."""
Fits = Callable[[Path, str], None]
DATASETS, STEPS, ADAPTERS = "datasets", "steps", "adapters"


@dataclass(frozen=True)
class Depots:
    """Each with the folder that it is about: OBJECTS/datasets, REGISTRY/adapters, OBJECTS/steps."""

    datasets: Depot
    models: Depot
    artifacts: Depot

    def here(self, path: Path) -> Path:
        """Where a file or folder is on this machine that was named on another one, brought if it has to be.

        What lies below a folder of ours is known by its path from there. Other paths are as they are.
        """
        if path.exists():
            return path
        for depot, depth in ((self.datasets, 1), (self.artifacts, 1), (self.models, 2)):
            found = _below(path, depot.root.name, depth)
            if found is None:
                continue
            folder = depot.root.joinpath(*found[:depth])
            if depot.bring(folder):
                return folder.joinpath(*found[depth:])
        return path

    def adopt(self) -> None:
        """Keep what was there before anything was kept; outputs of steps are made again. ObjectError."""
        for depot, pattern in ((self.datasets, "[0-9a-f]*"), (self.models, "*/[0-9a-f]*")):
            for folder in sorted(depot.root.glob(pattern)):
                if any(folder.glob("data.*")) or any((folder / file).is_file() for file in WHOLE):
                    depot.keep(folder)

    def settle(self) -> None:
        """Let local copies be what is kept now. ObjectError."""
        for depot in self.all:
            depot.settle()

    def gather(self) -> list[set[str]]:
        """Bring every dataset and version here, to be looked through; the local copies by depot. ObjectError.

        Outputs of steps are not: those that no machine of ours has looked through go with `reconcile`.
        """
        self.datasets.settle(everything=True)
        self.models.settle(everything=True)
        self.artifacts.settle()
        return [depot.held() for depot in self.all]

    def reconcile(self, before: list[set[str]]) -> None:
        """Keep what was changed here since `gather`, and no longer what was deleted here. ObjectError."""
        for depot, names in zip(self.all, before, strict=True):
            for name in sorted(names):
                folder = depot.root / name
                if folder.is_dir():
                    depot.keep(folder, changed=True)
                else:
                    depot.drop(folder)
        for name in set(self.artifacts.kept()) - self.artifacts.held():
            self.artifacts.drop(self.artifacts.root / name)

    @property
    def all(self) -> tuple[Depot, Depot, Depot]:
        """One after the other."""
        return self.datasets, self.models, self.artifacts


def open_depots(settings: Settings, objects: Path, registry: Path) -> Depots:
    """Those of an installation; on this machine alone where there is no endpoint."""
    places = (objects / DATASETS, registry / ADAPTERS, objects / STEPS)
    if not settings.is_on:
        return Depots(*(LocalDepot(place) for place in places))
    datasets, models, artifacts = places
    # Another server or bucket knows nothing of what was kept in this one.
    marks = objects / "kept" / sha256(settings.endpoint.encode()).hexdigest()[:12]

    def depot(root: Path, bucket: str, fits: Fits = anything) -> Depot:
        return BucketDepot(root, open_bucket(settings, bucket), marks / bucket, fits)

    return Depots(
        depot(datasets, settings.datasets, dataset_fits),
        depot(models, settings.models, version_fits),
        depot(artifacts, settings.artifacts),
    )


def checkpoints(settings: Settings, run: Path, key: str) -> Depot:
    """Of one run, which its inputs name: RUN/checkpoint-N."""
    if not settings.is_on:
        return LocalDepot(run)
    bucket = open_bucket(settings, settings.checkpoints)
    return BucketDepot(run, bucket, run / "kept", anything, above=f"{key}/")


def anything(folder: Path, name: str) -> None:
    """Outputs of steps are named by what they were made from."""


def dataset_fits(folder: Path, name: str) -> None:
    """An uploaded file is named by its hash, a dataset by the digest of its rows. RlhfError."""
    if withdrawal(folder):
        return
    if UPLOADED.fullmatch(name):
        found = {file_sha256(file) for file in folder.glob("data.*")}
    else:
        found = {read_dataset(folder).digest[: len(name)]}
    if found != {name}:
        raise ObjectError(f"the dataset {name[:12]} was altered where it is kept: {AGAIN}")


def version_fits(folder: Path, name: str) -> None:
    """A version is named by its content. RlhfError."""
    try:
        lineage = json.loads((folder / LINEAGE).read_text(encoding="utf-8"))
        kind, said = str(lineage.get("kind", ADAPTER)), str(lineage["digest"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ObjectError(f"the version {name} was altered where it is kept: {AGAIN}") from error
    found = digest_of(kind, folder if kind == ADAPTER else folder / CONTENT)
    if found != said or not found.removeprefix("sha256:").startswith(name.rpartition("/")[2]):
        raise ObjectError(f"the version {name} was altered where it is kept: {AGAIN}")


def _below(path: Path, root: str, depth: int) -> tuple[str, ...] | None:
    """The parts of a path below the last folder of this name, where there are as many."""
    parts = path.parts
    at = next((at for at in range(len(parts) - 1, -1, -1) if parts[at] == root), None)
    below = parts[at + 1 :] if at is not None else ()
    # Uploads go by 64 digits, datasets by 12, outputs by 32, versions by a name and 12.
    named = len(below) >= depth and all(c in "0123456789abcdef" for c in below[depth - 1])
    return below if named and ".." not in below else None
