"""Thumbs alone move a model: answers with a thumb up become likelier, those with a thumb down rarer."""

from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer

from rlhf.errors import BadRecords, RecipeError, TrainingError
from rlhf.kto import ALONE, Kto
from rlhf.methods import KtoRecipe, read_recipe, train
from tests.rlhf.preferring import base as make_base
from tests.rlhf.preferring import rows, write
from tests.rlhf.trainings import plan, quiet, same_after_a_kill

SMALL: dict[str, Any] = {"lora": {"rank": 4, "alpha": 8}}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_base(tmp_path_factory.mktemp("kto") / "tiny")


def thumbs(count: int) -> list[dict[str, Any]]:
    """Every third answer cites first and has a thumb up; the others do not."""
    return [
        {"prompt": row["prompt"], "completion": row["rejected" if at % 3 else "chosen"], "label": at % 3 == 0}
        for at, row in enumerate(rows(count))
    ]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("thumbs")
    made = thumbs(36)
    write(folder / "train.jsonl", made[:24])
    write(folder / "held_out.jsonl", made[24:])
    return folder


def test_it_learns_from_thumbs_and_goes_on_after_a_kill(base: Path, data: Path, tmp_path: Path) -> None:
    recipe = plan("kto", train={"epochs": 4, "beta": 0.3}, **SMALL)
    trained = train(recipe, data, tmp_path / "out", base, tell=quiet)
    assert trained.steps == 24
    assert trained.held_out["up"] > trained.held_out["down"]
    assert trained.history[-1]["loss"] < trained.history[0]["loss"]
    same_after_a_kill(trained, recipe, data, tmp_path / "parts", base)


def test_a_row_without_a_neighbour_is_named(base: Path, tmp_path: Path) -> None:
    write(tmp_path / "rows.jsonl", thumbs(9))
    recipe = plan("kto")
    assert isinstance(recipe, KtoRecipe)
    used = Kto().read(tmp_path / "rows.jsonl", AutoTokenizer.from_pretrained(base), recipe)
    assert len(used.texts) == 8
    assert [len(ids) for ids in used.left_out.values()] == [1]
    assert list(used.left_out) == [ALONE]


def test_what_cannot_be_is_said(base: Path, data: Path, tmp_path: Path) -> None:
    write(tmp_path / "train.jsonl", [{**row, "label": True} for row in thumbs(8)])
    with pytest.raises(TrainingError, match="there are 8 up and 0 down"):
        train(plan("kto"), tmp_path, tmp_path / "out", base, tell=quiet)
    write(tmp_path / "train.jsonl", [{**thumbs(1)[0], "label": "up"}])
    with pytest.raises(BadRecords, match=r"train\.jsonl:1: label: "):
        train(plan("kto"), tmp_path, tmp_path / "out", base, tell=quiet)
    with pytest.raises(RecipeError, match=r"train\.batch is 1"):
        read_recipe("kto", train={"batch": 1})
