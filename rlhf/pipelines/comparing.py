"""What is compared where nothing is trained: a version of the registry and rows that it never saw."""

from __future__ import annotations

from typing import Any

from rlhf.pipelines.kinds import Kind, Parameters, Work
from rlhf.pipelines.proving import DATASET, TRAINED, VERSION

SHOWN = 3


class Subject(Parameters):
    """Which version, on which dataset."""

    name: str
    digest: str
    """`sha256:` and digits."""
    dataset: str
    """Folder of a dataset of preferences."""


def subject(work: Work) -> dict[str, Any]:
    """The version, whole, with what is known of its training; and the dataset, whose held-out rows are none
    that the version has learnt from. RegistryError, DatasetError, Leak.
    """
    from pathlib import Path

    from rlhf.data.folder import verify_split
    from rlhf.errors import DatasetError, Leak

    given: Subject = work.parameters
    version = work.versions.check(work.versions.find(given.name, given.digest))
    folder = work.depots.here(Path(given.dataset))
    dataset = verify_split(folder)
    if (kind := dataset.manifest["kind"]) != "preference":
        raise DatasetError(f"the dataset holds {kind} rows; adapters are compared on preferences")
    learnt = {pair["pair_id"] for pair in version.pairs()}
    if seen := sorted(row.pair_id for row in dataset.held_out if row.pair_id in learnt):
        raise Leak(
            f"{version.name} {version.short} has learnt from {len(seen)} of the "
            f"{len(dataset.held_out)} held-out rows, such as {', '.join(seen[:SHOWN])}: "
            "take the dataset that it was trained on, or other rows"
        )
    lineage = version.lineage()
    trained: dict[str, Any] = {
        "recipe": lineage.get("recipe") or {},
        "held_out": lineage.get("metrics") or {},
        "history": [],
        "rows": {},
    }
    work.tell(f"{version.name} {version.short} on {len(dataset.held_out)} held-out rows")
    return {
        VERSION: {"path": str(version.folder), "digest": version.digest, "name": version.name},
        DATASET: {"path": str(folder), "digest": dataset.digest},
        TRAINED: trained,
    }


COMPARING: tuple[Kind, ...] = (
    Kind(
        "subject",
        subject,
        Subject,
        outputs={VERSION: VERSION, DATASET: DATASET, TRAINED: TRAINED},
        cached=False,
    ),
)
