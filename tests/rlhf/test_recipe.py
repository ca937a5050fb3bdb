"""A recipe names what differs, inherits the rest, and says what is wrong with it."""

from pathlib import Path

import pytest

from rlhf.errors import RecipeError
from rlhf.recipe import load_recipe


def written(folder: Path, text: str) -> Path:
    path = folder / "mine.yaml"
    path.write_text(text)
    return path


def test_null_and_what_is_left_out_inherit(tmp_path: Path) -> None:
    recipe = load_recipe(written(tmp_path, "seed: null\ntrain: {beta: 0.3, epochs: null}\n"))
    plain = load_recipe()
    assert recipe.train.beta == 0.3
    assert (recipe.seed, recipe.train.epochs) == (plain.seed, plain.train.epochs)


def test_changes_go_over_the_file(tmp_path: Path) -> None:
    recipe = load_recipe(written(tmp_path, "train: {beta: 0.3}"), train={"batch": 2})
    assert (recipe.train.beta, recipe.train.batch) == (0.3, 2)


def test_an_unknown_key_is_named_with_its_neighbour(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"train\.learning_rat is no key.*did you mean learning_rate\?"):
        load_recipe(written(tmp_path, "train: {learning_rat: 1}"))


def test_a_wrong_value_is_named(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"lora\.rank is 0"):
        load_recipe(written(tmp_path, "lora: {rank: 0}"))


def test_a_file_that_is_no_mapping_or_missing(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="not a mapping"):
        load_recipe(written(tmp_path, "- 1"))
    with pytest.raises(RecipeError, match="cannot be read"):
        load_recipe(tmp_path / "none.yaml")


def test_the_saved_recipe_is_the_resolved_one(tmp_path: Path) -> None:
    recipe = load_recipe(train={"beta": 0.25})
    recipe.save(tmp_path / "recipe.yaml")
    assert load_recipe(tmp_path / "recipe.yaml") == recipe
    assert load_recipe().digest("train") != recipe.digest("train")
    assert load_recipe().digest("lora") == recipe.digest("lora")
