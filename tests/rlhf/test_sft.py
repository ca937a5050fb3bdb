"""Answers are imitated, by an adapter or by all weights; the prompt is context."""

import math
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from rlhf.adapters import causal, load_adapter
from rlhf.answers import IGNORED, answers, marked
from rlhf.errors import BadRecords, RecipeError, TrainingError
from rlhf.methods import read_recipe, train
from rlhf.pairs import NOT_A_PREFIX, TOO_LONG, templated
from tests.rlhf.preferring import base as make_base
from tests.rlhf.preferring import rows, write
from tests.rlhf.trainings import plan, quiet, same_after_a_kill

SMALL: dict[str, Any] = {"lora": {"rank": 4, "alpha": 8}}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_base(tmp_path_factory.mktemp("sft") / "tiny")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every answer says the same, whatever the prompt."""
    folder = tmp_path_factory.mktemp("sft-data")
    made = [
        {"prompt": row["prompt"], "completion": [{"role": "assistant", "content": "fig tea gum"}]}
        for row in rows(32)
    ]
    write(folder / "train.jsonl", made[:24])
    write(folder / "held_out.jsonl", made[24:])
    return folder


def said(model: Any, base: Path) -> str:
    """What a model answers to a prompt that it has not seen."""
    tokenizer = AutoTokenizer.from_pretrained(base)
    prompt = tokenizer(templated(tokenizer, rows(40)[-1]["prompt"], None, True), return_tensors="pt")
    with torch.no_grad():
        made = model.generate(**prompt, max_new_tokens=16, do_sample=False)
    return str(tokenizer.decode(made[0, prompt["input_ids"].shape[1] :]))


def test_an_adapter_learns_it_and_goes_on_after_a_kill(base: Path, data: Path, tmp_path: Path) -> None:
    recipe = plan("sft", train={"epochs": 8}, **SMALL)
    trained = train(recipe, data, tmp_path / "out", base, tell=quiet)
    assert trained.steps == 48
    assert trained.held_out["token_accuracy"] > 0.9
    assert trained.held_out["perplexity"] == pytest.approx(math.exp(trained.held_out["loss"]))
    assert said(load_adapter(causal(base), tmp_path / "out" / "adapter"), base).startswith(
        "fig tea gum<|im_end|>"
    )
    same_after_a_kill(trained, recipe, data, tmp_path / "parts", base)


def test_all_weights_learn_the_answer_and_go_on_after_a_kill(base: Path, data: Path, tmp_path: Path) -> None:
    recipe = plan("sft", tuning="full", train={"learning_rate": 0.002, "epochs": 2})
    trained = train(recipe, data, tmp_path / "out", base, tell=quiet)
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "out" / trained.result, dtype=torch.float32)
    assert said(model, tmp_path / "out" / trained.result).startswith("fig tea gum")
    same_after_a_kill(trained, recipe, data, tmp_path / "parts", base)


def test_what_the_assistant_says_counts_and_nothing_else(base: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(base)
    asked, fine = {"role": "user", "content": "oak?"}, {"role": "assistant", "content": "elm"}
    row = {"row_id": "x", "prompt": [asked], "completion": [fine, asked, fine]}
    found = marked(tokenizer, row)
    assert found is not None
    counted = [token for token, label in zip(*found, strict=True) if label != IGNORED]
    assert tokenizer.decode(counted) == "elm<|im_end|>elm<|im_end|>"
    assert tokenizer.decode(found[0]).count("oak?") == 2
    long = {**row, "row_id": "long", "prompt": [{"role": "user", "content": "oak " * 300}]}
    assert answers([row, long], tokenizer, 256).left_out == {TOO_LONG: ["long"]}
    tokenizer.chat_template = tokenizer.chat_template.replace("assistant\\n", "assistant\\n<think>")
    assert answers([row], tokenizer, 256).left_out == {NOT_A_PREFIX: ["x"]}


def test_a_base_in_four_bits_teaches_an_adapter_that_fits_the_base(
    base: Path, data: Path, tmp_path: Path
) -> None:
    recipe = plan("sft", tuning="qlora", train={"epochs": 8}, **SMALL)
    trained = train(recipe, data, tmp_path / "out", base, tell=quiet)
    assert trained.held_out["token_accuracy"] > 0.9
    # The adapter serves on the base as it is, not only on the one that it was trained on.
    assert said(load_adapter(causal(base), tmp_path / "out" / "adapter"), base).startswith("fig tea gum")


def test_what_cannot_be_is_said(
    base: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as without:
        without.setitem(sys.modules, "bitsandbytes", None)
        with pytest.raises(TrainingError, match=r"needs bitsandbytes.*`tuning: lora`"):
            train(plan("sft", tuning="qlora"), data, tmp_path / "out", base, tell=quiet)
    if not torch.cuda.is_available():
        with pytest.raises(TrainingError, match="sees no GPU here"):
            train(plan("sft", device="cuda"), data, tmp_path / "out", base, tell=quiet)
    write(tmp_path / "train.jsonl", [{"prompt": [{"role": "user", "content": "x"}]}])
    with pytest.raises(BadRecords, match=r"train\.jsonl:1: has no completion"):
        train(plan("sft"), tmp_path, tmp_path / "out", base, tell=quiet)
    with pytest.raises(RecipeError, match=r"lora\.rang is no key.*did you mean rank"):
        read_recipe("sft", lora={"rang": 3})
    with pytest.raises(RecipeError, match="beta is no key"):
        read_recipe("sft", train={"beta": 0.1})
    (tmp_path / "mine.yaml").write_text("method: guess\n")
    with pytest.raises(RecipeError, match="`guess` is no method of training; there are: sft, dpo, kto"):
        read_recipe(tmp_path / "mine.yaml")
