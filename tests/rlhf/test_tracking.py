"""W&B is told a run where the recipe asks for it, off the network; without the package that is said."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from rlhf.errors import RecipeError, TrainingError
from rlhf.methods import read_recipe, train
from tests.rlhf.preferring import base as make_base
from tests.rlhf.preferring import dataset
from tests.rlhf.trainings import plan, quiet

WANDB = importlib.util.find_spec("wandb") is not None
RUN = """
import sys
from pathlib import Path
from rlhf.methods import train
from tests.rlhf.trainings import plan, quiet
base, data, out = map(Path, sys.argv[1:])
recipe = plan("dpo", lora={"rank": 4, "alpha": 8}, replay={"rows": "none"}, tracking=["local", "wandb"])
train(recipe, data, out, base, tell=quiet)
"""


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


@pytest.mark.skipif(not WANDB, reason="wandb is not installed; `python -m pip install wandb` runs this")
def test_a_run_is_kept_on_the_disk_with_recipe_data_and_curves(base: Path, tmp_path: Path) -> None:
    data = dataset(tmp_path / "data", count=8)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("WANDB_")}
    command = [sys.executable, "-c", RUN, str(base), str(data), str(tmp_path / "out")]
    subprocess.run(command, env=environment, check=True, timeout=100)
    (file,) = (tmp_path / "out" / "wandb").glob("offline-run-*/run-*.wandb")
    content = file.read_bytes()
    digest = json.loads((tmp_path / "out" / "trained.json").read_text())["data"]["train.jsonl"]
    for said in (digest, '"learning_rate":0.01', "train/loss", "rewards/margins"):
        assert said.encode() in content, said
