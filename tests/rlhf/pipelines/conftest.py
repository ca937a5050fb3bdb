"""One worker for a file's tests, because its start is what costs."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from rlhf.jobs import Jobs
from tests.rlhf.pipelines.writing import PLUGIN
from tests.rlhf.working import Place, worker


def made(root: Path, **more: str) -> Place:
    """A place whose worker knows our kinds, and no GPU."""
    return Place(root, {"RLHF_STEPS": PLUGIN, "RLHF_NVIDIA_SMI": "no-nvidia-smi", **more})


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    return made(tmp_path_factory.mktemp("place"))


@pytest.fixture(scope="module")
def jobs(place: Place) -> Iterator[Jobs]:
    """A running worker's record."""
    with worker(place), Jobs(place.root / "jobs") as found:
        yield found
