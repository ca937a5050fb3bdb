"""Queries find the text that answers them after training and not before; negatives are no answers."""

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rlhf.embedding import encoder, nearest, retrieval, vectors, with_negatives
from rlhf.errors import BadRecords, RecipeError, TrainingError
from rlhf.methods import minilm, read_recipe, train
from rlhf.pairs import TOO_LONG
from tests.rlhf.encoders import make_encoder
from tests.rlhf.preferring import write
from tests.rlhf.trainings import plan, quiet, same_after_a_kill

ASKED = [f"ask{i}" for i in range(12)]
TOLD = [f"tell{i}" for i in range(12)]
FILL = [f"fill{i}" for i in range(20)]


def triplets(count: int, start: int = 0) -> list[dict[str, Any]]:
    """What a query asks is told under another word; the word after it means nothing."""
    fill = random.Random(start)
    return [
        {"query": f"{ASKED[i % 12]} {fill.choice(FILL)}", "positive": f"{TOLD[i % 12]} {fill.choice(FILL)}"}
        for i in range(count)
    ]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_encoder(tmp_path_factory.mktemp("embedding") / "tiny", [*ASKED, *TOLD, *FILL])


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("triplets")
    held_out = triplets(12, start=200)
    examined = {row["query"] for row in held_out}
    write(folder / "train.jsonl", [row for row in triplets(360) if row["query"] not in examined])
    write(folder / "held_out.jsonl", held_out)
    return folder


def test_it_finds_what_is_asked_and_goes_on_after_a_kill(base: Path, data: Path, tmp_path: Path) -> None:
    steps = {"epochs": 4, "batch": 12, "learning_rate": 0.003, "max_tokens": 32, "save_steps": 40}
    recipe = plan("embedding", train=steps)
    trained = train(recipe, data, tmp_path / "out", base, tell=quiet)
    before, after = trained.held_out["before"], trained.held_out["after"]
    assert after["recall_at_1"] >= 0.9 > before["recall_at_1"]
    held = [
        {"anchor": row["query"], "positive": row["positive"], "negative": None} for row in triplets(12, 200)
    ]
    assert retrieval(encoder(tmp_path / "out" / trained.result), held) == after
    same_after_a_kill(trained, recipe, data, tmp_path / "parts", base)


def test_a_negative_is_near_and_no_answer(base: Path) -> None:
    rows = [{"anchor": r["query"], "positive": r["positive"], "negative": None} for r in triplets(12)]
    rows[3]["negative"] = "given"
    rows.append({**rows[0], "positive": rows[5]["positive"]})
    made = with_negatives(encoder(base), rows, 0.0)
    assert made[3]["negative"] == "given"
    answers = {rows[0]["positive"], rows[5]["positive"]}
    assert all(row["negative"] for row in made)
    assert made[0]["negative"] not in answers
    assert made[12]["negative"] not in answers
    scores = np.asarray([0.9, 0.88, 0.7, 0.1], dtype=np.float32)
    assert nearest(scores, 0, {0}, 0.05) == 2
    assert nearest(scores, 0, {0}, 0.0) == 1
    assert nearest(scores, 3, {3}, 0.5) == 2


def test_long_rows_are_left_out_and_faults_named(base: Path, tmp_path: Path) -> None:
    write(tmp_path / "train.jsonl", [{"query": "ask1 " * 40, "positive": "tell1", "row_id": "long"}])
    recipe = plan("embedding", train={"max_tokens": 32})
    with pytest.raises(TrainingError, match=rf"{TOO_LONG}.*long"):
        train(recipe, tmp_path, tmp_path / "out", base, tell=quiet)
    write(tmp_path / "train.jsonl", [{"query": "ask1"}])
    with pytest.raises(BadRecords, match=r"train\.jsonl:1: has no positive"):
        train(recipe, tmp_path, tmp_path / "out", base, tell=quiet)
    with pytest.raises(RecipeError, match=r"negatives\.mined is no key.*did you mean mine"):
        read_recipe("embedding", negatives={"mined": True})


def test_the_model_in_the_package_is_read_without_the_network() -> None:
    near, same, far = vectors(encoder(minilm()), ["How do I take leave?", "Taking days off", "A red bicycle"])
    assert near @ same > near @ far + 0.2
