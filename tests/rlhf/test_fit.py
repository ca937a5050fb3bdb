"""`auto` chooses what fits the memory that is free, writes down why, and refuses what cannot fit."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from rlhf.errors import RecipeError, TrainingError
from rlhf.estimate import look
from rlhf.fit import Fit, fit, possibilities
from rlhf.loads import Load
from rlhf.machine import Machine, bitsandbytes_runs
from rlhf.memory import Estimate
from rlhf.methods import read_recipe, train
from rlhf.pairs import read_rows
from rlhf.recipe import Trainable
from tests.rlhf.preferring import base as make_base
from tests.rlhf.preferring import rows, write
from tests.rlhf.trainings import plan, quiet

AUTO: dict[str, Any] = {"lora": {"rank": 4, "alpha": 8}, "quantisation": "auto"}
LOAD = Load(sequences=1, tokens=400)
BOTH = frozenset(("int8", "int4"))


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_base(tmp_path_factory.mktemp("fit") / "tiny")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    said = [{"role": "assistant", "content": "fig tea gum"}]
    write(folder / "train.jsonl", [{"prompt": row["prompt"], "completion": said} for row in rows(8)])
    return folder


def auto(method: str = "sft", **changes: Any) -> Any:
    train = {"precision": "auto", **changes.pop("train", {})}
    return plan(method, **{**AUTO, **changes}, train=train)


def stepwise(method: str, **changes: Any) -> Trainable:
    made = plan(method, **changes)
    assert isinstance(made, Trainable)
    return made


def needed(recipe: Trainable, base: Path, **train: Any) -> int:
    held = {"quantisation": train.pop("quantisation")} if "quantisation" in train else {}
    changes = {"train": {"precision": "float32", **train}, **held}
    return Estimate(base, LOAD).need(Fit(changes, "").over(recipe)).total


def test_everything_that_is_named_changes_what_is_needed(base: Path) -> None:
    recipe = stepwise("sft", train={"batch": 8})
    plain = needed(recipe, base)
    assert needed(recipe, base, batch=1) < needed(recipe, base, batch=4) < plain
    assert needed(recipe, base, gradient_checkpointing=True) < plain
    assert needed(recipe, base, quantisation="int4") < needed(recipe, base, quantisation="int8") < plain
    full, goes_on = Estimate(base, LOAD).need(stepwise("sft", tuning="full")), Load(2, 400, goes_on=True)
    # AdamW keeps two numbers a weight beside the gradient, all in single precision.
    assert full.optimizer == 2 * full.gradients == 2 * full.weights
    assert Estimate(base, goes_on).need(stepwise("dpo")).reference > 0


def test_with_memory_enough_nothing_is_given_up(base: Path) -> None:
    found = fit(auto(), base, LOAD, Machine("cpu", 2**40, quantised=BOTH))
    assert found.changes == {
        "train": {"precision": "float32", "gradient_checkpointing": False, "batch": 4, "accumulate": 1},
        "quantisation": "none",
    }
    assert "float32, 4 rows at once: needs" in found.reason


def test_a_gpu_takes_the_precision_that_it_has(base: Path) -> None:
    for able, precision in ((True, "bfloat16"), (False, "float16")):
        found = fit(auto(device="cuda"), base, LOAD, Machine("cuda", 2**40, able))
        assert found.changes["train"]["precision"] == precision


def test_less_memory_divides_the_batch_and_keeps_the_rows_of_a_step(base: Path) -> None:
    recipe = auto(train={"batch": 12, "accumulate": 2})
    seen = [one["train"] for one in possibilities(recipe, Machine("cpu", 0))]
    assert {one["batch"] * one["accumulate"] for one in seen} == {24}
    assert sorted({one["batch"] for one in seen}) == [1, 2, 3, 4, 6, 12]
    free = int(needed(recipe, base, batch=6) / 0.9) + 1
    found = fit(recipe, base, LOAD, Machine("cpu", free))
    assert (found.changes["train"]["batch"], found.changes["train"]["accumulate"]) == (6, 4)
    assert "too little for the fastest possibility" in found.reason


def test_what_learns_from_its_neighbours_keeps_them() -> None:
    kto = [one["train"]["batch"] for one in possibilities(auto("kto"), Machine("cpu", 0))]
    assert min(kto) == 2
    encoder = stepwise("embedding", train={"precision": "auto", "batch": 16})
    assert {one["train"]["batch"] for one in possibilities(encoder, Machine("cpu", 0))} == {16}


def test_fewer_bits_come_last_and_only_where_they_run(base: Path) -> None:
    for able, last in ((BOTH, "int4"), (frozenset[str](), "bfloat16")):
        held = [one["quantisation"] for one in possibilities(auto(), Machine("cpu", 0, quantised=able))]
        assert (held[0], held[-1]) == ("none", last)
    full = [one["quantisation"] for one in possibilities(auto(tuning="full"), Machine("cpu", 0, True, BOTH))]
    assert set(full) == {"none"}
    assert bitsandbytes_runs("int4", "cpu")


def test_what_cannot_fit_is_refused_before_training_with_what_is_missing(
    base: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RLHF_MEMORY_MB", "20")
    with pytest.raises(
        TrainingError, match=r"does not fit.*20 MiB that are free.*MiB are missing.*max_tokens"
    ):
        train(auto(), data, tmp_path / "out", base, tell=quiet)
    assert not (tmp_path / "out" / "run").exists()


def test_the_choice_and_its_reason_are_in_the_log_and_the_recipe_and_stay(
    base: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, lines = tmp_path / "out", list[str]()
    trained = train(auto(), data, out, base, tell=lines.append)
    text = (out / "recipe.yaml").read_text()
    assert text.startswith("# memory: float32, 4 rows at once: needs")
    assert yaml.safe_load(text)["train"]["precision"] == "float32"
    assert trained.recipe is not None
    assert trained.recipe["quantisation"] == "none"
    assert any(line.startswith("memory: float32") for line in lines)
    # With less memory another time it is still the same run.
    monkeypatch.setenv("RLHF_MEMORY_MB", "20")
    assert train(auto(), data, out, base, tell=quiet).digest == trained.digest


def test_a_divided_batch_learns_what_a_whole_one_does(base: Path, data: Path, tmp_path: Path) -> None:
    """One step, with rehearsal, of a loss that is a mean over tokens."""
    losses = {}
    write(tmp_path / "kept.jsonl", read_rows(data / "train.jsonl")[:3])
    for batch, times in ((8, 1), (2, 4)):
        rehearsed = {"rows": str(tmp_path / "kept.jsonl"), "batch": 2, "weight": 3.0}
        changes = {"batch": batch, "accumulate": times, "warm_up": 0.0, "epochs": 4}
        recipe = plan("sft", lora={"rank": 4, "alpha": 8}, replay=rehearsed, train=changes)
        trained = train(recipe, data, tmp_path / f"out-{batch}", base, tell=quiet)
        losses[batch] = [step["loss"] for step in trained.history]
    assert losses[2] == pytest.approx(losses[8], rel=0.01)
    assert losses[8][-1] != pytest.approx(losses[8][0], rel=0.05)


@pytest.mark.parametrize("method", ["dpo", "reward"])
@pytest.mark.parametrize("how", ["bfloat16", "int8", "int4"])
def test_pairs_are_learnt_on_a_base_of_fewer_bits(method: str, how: str, base: Path, tmp_path: Path) -> None:
    write(tmp_path / "train.jsonl", rows(8))
    recipe = plan(method, lora={"rank": 4, "alpha": 8}, quantisation=how, train={"epochs": 4})
    trained = train(recipe, tmp_path, tmp_path / "out", base, tell=quiet)
    losses = [one["loss"] for one in trained.history]
    assert losses[-1] < losses[0]


def test_the_estimate_is_shown_without_training(base: Path, data: Path, tmp_path: Path) -> None:
    seen = look("sft", data, base, True, None, False)
    assert seen.fits
    assert seen.lines[-1][-1] == "yes"
    little = look("sft", data, base, True, 0.001, False)
    assert not little.fits
    assert "are missing" in little.said
    assert {line[-1] for line in little.lines} == {"no"}
    assert len(little.lines) > 8
    plain = look("sft", data, base, False, None, False)
    assert [line[:3] for line in plain.lines] == [("float32", "no", "8 x 1")]


def test_what_makes_no_sense_is_said() -> None:
    with pytest.raises(RecipeError, match=r"float16` needs a GPU: use bfloat16"):
        read_recipe("dpo", train={"precision": "float16"})
    with pytest.raises(RecipeError, match=r"trains all weights, which `quantisation: int8` freezes"):
        read_recipe("sft", tuning="full", quantisation="int8")
    with pytest.raises(
        RecipeError, match=r"holds the base in four bits, `quantisation: int8` says otherwise"
    ):
        read_recipe("sft", tuning="qlora", quantisation="int8")
