"""A recipe picks its method; from the command line too."""

from pathlib import Path

import pytest

from rlhf.errors import RecipeError
from rlhf.methods import METHODS, read_recipe
from rlhf.recipe import Recipe
from tests.rlhf.preferring import base, rows, write
from tests.rlhf.test_cli import rlhf


def test_every_method_has_a_whole_recipe_and_a_trainer() -> None:
    for name, method in METHODS.items():
        recipe = read_recipe(name)
        assert (type(recipe), recipe.method) == (method.recipe, name)
        assert (Path("rlhf") / f"{method.module.split('.')[1]}.py").is_file()
        assert (method.base() / "config.json").is_file()


def test_a_file_goes_over_the_recipe_of_its_method(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("method: reward\ntrain: {epochs: 5, batch: null}\n")
    recipe, plain = read_recipe(tmp_path / "mine.yaml", seed=3), read_recipe("reward")
    assert (recipe.method, recipe.seed) == ("reward", 3)
    assert recipe.model_dump()["train"] == {**plain.model_dump()["train"], "epochs": 5}
    (tmp_path / "mine.yaml").write_text("lora: {rank: 3}\n")
    assert isinstance(read_recipe(tmp_path / "mine.yaml"), Recipe)
    with pytest.raises(RecipeError, match="cannot be read"):
        read_recipe("dop")


def test_the_command_trains_by_the_recipe(tmp_path: Path) -> None:
    folder = base(tmp_path / "tiny")
    write(tmp_path / "train.jsonl", [{"prompt": r["prompt"], "completion": r["chosen"]} for r in rows(4)])
    (tmp_path / "mine.yaml").write_text("method: sft\nthreads: 1\ntrain: {epochs: 1, batch: 4}\n")
    told = ["--data", str(tmp_path), "--out", str(tmp_path / "out"), "--base", str(folder)]
    done = rlhf("train", str(tmp_path / "mine.yaml"), *told)
    assert done.returncode == 0, done.stderr
    assert "training: 4 rows" in done.stdout
    assert (tmp_path / "out" / "adapter" / "adapter_model.safetensors").is_file()
    refused = rlhf(
        "train", "sft", "--data", str(tmp_path), "--out", str(tmp_path / "x"), "--base", str(tmp_path)
    )
    assert refused.returncode == 1
    assert "is no model" in refused.stderr
    assert "Traceback" not in refused.stderr
