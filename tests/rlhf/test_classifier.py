"""Intents are told apart, what is none of them is unknown, and confidence means what it says."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rlhf.classifier import UNKNOWN, Classifier, calibrated, lowest
from rlhf.errors import BadRecords, RecipeError, TrainingError
from rlhf.methods import read_recipe, train
from tests.rlhf.encoders import make_encoder
from tests.rlhf.preferring import write
from tests.rlhf.trainings import quiet

WORDS = {
    "leave": ["holiday", "days", "rest"],
    "pay": ["salary", "money", "bonus"],
    "trip": ["train", "hotel", "visa"],
}
STRANGE = ["volcano", "cheese", "moon"]
FILL = [f"fill{i}" for i in range(12)]


def texts(count: int, start: int = 0) -> list[dict[str, Any]]:
    """A telling word among two that mean nothing."""
    out = []
    for i in range(start, start + count):
        label = list(WORDS)[i % 3]
        out.append({"text": f"{FILL[i % 11]} {WORDS[label][i % 7 % 3]} {FILL[i % 5]}", "label": label})
    return out


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    known = [word for words in WORDS.values() for word in words]
    return make_encoder(tmp_path_factory.mktemp("classifier") / "tiny", [*known, *STRANGE, *FILL])


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("labels")
    strange = [{"text": f"{word} {fill}", "label": UNKNOWN} for word in STRANGE for fill in FILL[:4]]
    known = [*texts(90), *strange]
    taught = {row["text"] for row in known}
    write(folder / "train.jsonl", known)
    write(folder / "held_out.jsonl", [row for row in texts(60, start=200) if row["text"] not in taught])
    return folder


def test_intents_are_told_apart_and_the_same_again(base: Path, data: Path, tmp_path: Path) -> None:
    recipe = read_recipe("classifier", threads=1)
    trained = train(recipe, data, tmp_path / "out", base, tell=quiet)
    assert trained.held_out["accuracy"] >= 0.9
    assert trained.held_out["right_of_answered"] >= 0.9
    assert trained.held_out["unknown_found"] is None
    asked = Classifier(tmp_path / "out" / trained.result)
    [(label, sure)] = asked.classify(["fill1 salary fill2"])
    assert label == "pay"
    assert asked.head.threshold <= sure <= 1
    assert train(recipe, data, tmp_path / "again", base, tell=quiet).digest == trained.digest
    assert json.loads((tmp_path / "out" / "trained.json").read_text())["method"] == "classifier"


def test_rows_of_no_intent_raise_the_threshold(base: Path, data: Path, tmp_path: Path) -> None:
    write(tmp_path / "train.jsonl", texts(90))
    heads = []
    for folder in (tmp_path, data):
        train(
            read_recipe("classifier", precision=1.0), folder, tmp_path / folder.name / "out", base, tell=quiet
        )
        heads.append(Classifier(tmp_path / folder.name / "out" / "classifier"))
    assert heads[1].head.threshold > heads[0].head.threshold
    assert [label for label, _ in heads[1].classify(["cheese fill1", "moon fill2"])] == [UNKNOWN, UNKNOWN]


def test_the_threshold_is_the_lowest_that_is_right_often_enough() -> None:
    sure = np.asarray([0.9, 0.8, 0.7, 0.6])
    right = np.asarray([True, True, False, True])
    assert lowest(sure, right, 1.0) == pytest.approx(0.8)
    assert lowest(sure, right, 0.7) == pytest.approx(0.6)
    assert lowest(sure, ~right, 1.0) == pytest.approx(0.7)


def test_a_head_that_is_too_sure_is_cooled_down() -> None:
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 400)
    wrong = rng.random(400) < 0.25
    logits = 6.0 * np.eye(2)[np.where(wrong, 1 - y, y)]
    assert 1 / (1 + np.exp(-6.0 / calibrated(logits, y))) == pytest.approx(0.75, abs=0.04)


def test_what_cannot_be_is_said(base: Path, tmp_path: Path) -> None:
    recipe = read_recipe("classifier")
    write(tmp_path / "train.jsonl", [{"text": "train", "label": "trip"}, {"text": "moon", "label": UNKNOWN}])
    with pytest.raises(TrainingError, match="two intents at least; there are: trip"):
        train(recipe, tmp_path, tmp_path / "out", base, tell=quiet)
    write(tmp_path / "train.jsonl", [*texts(9), {"text": "moon", "label": "sky"}])
    with pytest.raises(TrainingError, match="`sky` has one row"):
        train(recipe, tmp_path, tmp_path / "out", base, tell=quiet)
    write(tmp_path / "train.jsonl", [{"text": "moon"}])
    with pytest.raises(BadRecords, match=r"train\.jsonl:1: has no label"):
        train(recipe, tmp_path, tmp_path / "out", base, tell=quiet)
    with pytest.raises(RecipeError, match=r"precison is no key.*did you mean precision"):
        read_recipe("classifier", precison=0.9)
