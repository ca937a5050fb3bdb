"""A reward model orders answers that it has not seen, and can be asked as a judge."""

from pathlib import Path

import pytest

from rlhf.errors import BadRecords, RecipeError, TrainingError
from rlhf.methods import read_recipe, train
from rlhf.reward import RewardModel
from tests.rlhf.preferring import base as make_base
from tests.rlhf.preferring import dataset, rows, write
from tests.rlhf.trainings import plan, quiet, same_after_a_kill


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_base(tmp_path_factory.mktemp("reward") / "tiny")


def test_it_orders_answers_and_goes_on_after_a_kill(base: Path, tmp_path: Path) -> None:
    data = dataset(tmp_path / "data")
    recipe = plan("reward", lora={"rank": 4, "alpha": 8}, train={"epochs": 3, "learning_rate": 0.003})
    trained = train(recipe, data, tmp_path / "out", base, tell=quiet)
    assert trained.steps == 18
    assert trained.held_out["reward_accuracy"] == 1.0
    assert trained.history[-1]["margin"] > trained.history[0]["margin"]
    judge = RewardModel(tmp_path / "out" / trained.result, base).judge()
    row = rows(40)[-1]
    good, bad = (row[side][0]["content"] for side in ("chosen", "rejected"))
    assert judge.compare(row, good, bad) == "first"
    assert judge.compare(row, bad, good) == "second"
    same_after_a_kill(trained, recipe, data, tmp_path / "parts", base)


def test_it_goes_on_from_another(base: Path, tmp_path: Path) -> None:
    data = dataset(tmp_path / "data", count=8)
    recipe = plan("reward", lora={"rank": 4, "alpha": 8})
    first = train(recipe, data, tmp_path / "first", base, tell=quiet)
    second = train(recipe, data, tmp_path / "second", base, tmp_path / "first" / first.result, quiet)
    assert second.held_out["margin"] > first.held_out["margin"]


def test_what_cannot_be_is_said(base: Path, tmp_path: Path) -> None:
    data = dataset(tmp_path / "data", count=2)
    with pytest.raises(TrainingError, match=r"no row to train on: .*too long"):
        train(plan("reward", train={"max_tokens": 16}), data, tmp_path / "out", base, tell=quiet)
    write(data / "train.jsonl", [{"prompt": "x"}])
    with pytest.raises(BadRecords, match=r"train\.jsonl:1"):
        train(plan("reward"), data, tmp_path / "out", base, tell=quiet)
    with pytest.raises(RecipeError, match=r"train\.center is no key.*did you mean centre"):
        read_recipe("reward", train={"center": 1})
