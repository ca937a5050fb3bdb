"""W&B is told a run where the recipe asks for it; without the package that is said."""

import sys
from pathlib import Path

import pytest

from rlhf.errors import RecipeError, TrainingError
from rlhf.methods import read_recipe, train
from tests.rlhf.preferring import base as make_base
from tests.rlhf.preferring import dataset
from tests.rlhf.trainings import plan, quiet


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_base(tmp_path_factory.mktemp("tracking") / "tiny")


def test_without_the_package_that_is_said_before_anything_is_done(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    data = dataset(tmp_path / "data", count=4)
    with pytest.raises(TrainingError, match=r"needs the package wandb.*`python -m pip install wandb`"):
        train(plan("dpo", tracking=["local", "wandb"]), data, tmp_path / "out", base, tell=quiet)
    assert not (tmp_path / "out").exists()
    with pytest.raises(RecipeError, match="tracking"):
        read_recipe("dpo", tracking=["mlflow"])
