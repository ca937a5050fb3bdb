"""A training and the bucket of its checkpoints: whatever the bucket says, the training goes on."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from rlhf.objects.checkpoints import Keeping, latest
from rlhf.objects.depots import checkpoints
from rlhf.objects.settings import Settings
from tests.rlhf.objects.server import keys

FIRST = SimpleNamespace(is_world_process_zero=True, global_step=2)


def saved(run: Path) -> Path:
    folder = run / "checkpoint-2"
    folder.mkdir(parents=True)
    (folder / "weights").write_text("whole")
    return folder


def test_a_checkpoint_is_kept_once_it_is_whole(s3: Settings, tmp_path: Path) -> None:
    saved(tmp_path / "one")
    said: list[str] = []
    Keeping(checkpoints(s3, tmp_path / "one", "key"), said.append).on_save(None, FIRST, None)
    assert said == []
    assert "key/checkpoint-2/tree.json" in keys(s3, s3.checkpoints)
    found = latest(checkpoints(s3, tmp_path / "two", "key"))
    assert found is not None
    assert (found / "weights").read_text() == "whole"


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"checkpoints": "not-made-yet"}, "there is no such bucket"),
        ({"endpoint": "http://127.0.0.1:1", "seconds": 0.2}, "does not answer"),
    ],
)
def test_a_store_that_refuses_does_not_end_the_training(
    s3: Settings, tmp_path: Path, changes: dict[str, object], why: str
) -> None:
    folder = saved(tmp_path)
    said: list[str] = []
    depot = checkpoints(s3.model_copy(update=changes), tmp_path, "key")
    Keeping(depot, said.append).on_save(None, FIRST, None)
    assert len(said) == 1
    assert "the checkpoint is on this machine alone: " in said[0]
    assert why in said[0]
    assert folder.is_dir()
