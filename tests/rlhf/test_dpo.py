"""Training of a LoRA adapter on preferences: repeatable, resumable, honest about its reference."""

import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from rlhf.dpo import (
    FILES,
    check_reference,
    clear_errors,
    hushed,
    last_checkpoint,
    load_adapter,
    prepare,
    train,
)
from rlhf.errors import TrainingError, WrongReference
from rlhf.pairs import read_rows, render
from rlhf.registry import content_digest
from tests.rlhf.preferring import base as make_base
from tests.rlhf.preferring import dataset, recipe, rows, write


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_base(tmp_path_factory.mktemp("dpo") / "tiny")


def quiet(_: str) -> None:
    """Nobody reads."""


def test_it_learns_what_is_preferred_and_says_what_it_used(base: Path, tmp_path: Path) -> None:
    data = dataset(tmp_path / "data")
    write(
        data / "train.jsonl", [*rows(24), {**rows(1)[0], "chosen": rows(1)[0]["rejected"], "pair_id": "same"}]
    )
    lines: list[str] = []
    trained = train(recipe(train={"epochs": 4}), data, tmp_path / "out", base, tell=lines.append)
    assert trained.steps == 24
    assert trained.history[-1]["loss"] < trained.history[0]["loss"]
    assert trained.held_out["reward_accuracy"] == 1.0
    assert trained.held_out["chosen_change"] > 0
    assert trained.rows["train"]["left_out"] == {"chosen and rejected are the same": ["same"]}
    assert "24 pairs (1 left out" in lines[0]
    assert trained.digest == content_digest(tmp_path / "out" / "adapter")
    assert not (tmp_path / "out" / "run").exists()


def test_killed_and_resumed_it_is_the_same_adapter(base: Path, tmp_path: Path) -> None:
    data = dataset(tmp_path / "data")
    whole = train(recipe(), data, tmp_path / "whole", base, tell=quiet)
    out = tmp_path / "parts"
    code = (
        "from pathlib import Path\nfrom rlhf.dpo import train\nfrom tests.rlhf.preferring import recipe\n"
        f"train(recipe(), Path({str(data)!r}), Path({str(out)!r}), Path({str(base)!r}))"
    )
    process = subprocess.Popen([sys.executable, "-c", code], env={**os.environ, "PYTHONHASHSEED": "3"})
    while process.poll() is None and not (out / "run" / "checkpoint-2" / "trainer_state.json").exists():
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (out / "adapter").exists()
    assert last_checkpoint(out / "run") is not None
    assert train(recipe(), data, out, base, tell=quiet).digest == whole.digest


def test_checkpoints_of_another_recipe_are_not_gone_on_from(base: Path, tmp_path: Path) -> None:
    data = dataset(tmp_path / "data")
    whole = train(recipe(seed=3), data, tmp_path / "whole", base, tell=quiet)
    out = tmp_path / "parts"
    tokenizer = AutoTokenizer.from_pretrained(base)
    used, held = (render(read_rows(data / f), tokenizer, 256) for f in FILES)
    with hushed():
        prepare(recipe(), used, held, out, base, None, tokenizer).train()
    assert last_checkpoint(out / "run") is not None
    assert train(recipe(seed=3), data, out, base, tell=quiet).digest == whole.digest


def test_half_a_checkpoint_is_not_used(tmp_path: Path) -> None:
    names = ("optimizer.pt", "scheduler.pt", "adapter_model.safetensors")
    for number, state in (("4", '{"step": 4}'), ("12", '{"step":'), ("16", None)):
        folder = tmp_path / f"checkpoint-{number}"
        folder.mkdir()
        for name in names:
            (folder / name).touch()
        if state is not None:
            (folder / "trainer_state.json").write_text(state)
    assert last_checkpoint(tmp_path) == str(tmp_path / "checkpoint-4")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint-4"]


def test_a_loaded_adapter_goes_on_from_itself(base: Path, tmp_path: Path) -> None:
    data = dataset(tmp_path / "data")
    first = train(recipe(), data, tmp_path / "first", base, tell=quiet)
    second = train(recipe(), data, tmp_path / "second", base, tmp_path / "first" / "adapter", quiet)
    assert second.digest != first.digest
    tokenizer = AutoTokenizer.from_pretrained(base)
    ids = tokenizer("oak elm", return_tensors="pt")["input_ids"]
    logits = []
    for name in ("first", "second"):
        plain = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
        with torch.no_grad():
            logits.append(load_adapter(plain, tmp_path / name / "adapter")(ids).logits)
    assert not torch.allclose(logits[0], logits[1], atol=1e-3)


def test_another_reference_is_refused(base: Path, tmp_path: Path) -> None:
    data = dataset(tmp_path / "data")
    train(recipe(), data, tmp_path / "first", base, tell=quiet)
    tokenizer = AutoTokenizer.from_pretrained(base)
    used, held = (render(read_rows(data / f), tokenizer, 256) for f in FILES)
    with hushed():
        trainer = prepare(recipe(), used, held, tmp_path, base, tmp_path / "first" / "adapter", tokenizer)
        check_reference(trainer)
    assert trainer.model is not None
    for name, parameter in trainer.model.named_parameters():
        if ".ref." in name:
            parameter.data.zero_()
    with hushed(), pytest.raises(WrongReference, match="rewards are"):
        check_reference(trainer)


def test_without_rows_there_is_nothing_to_train_on(base: Path, tmp_path: Path) -> None:
    data = dataset(tmp_path / "data", count=2)
    with pytest.raises(TrainingError, match=r"no row to train on: .*too long"):
        train(recipe(train={"max_tokens": 16}), data, tmp_path / "out", base, tell=quiet)
    assert not (tmp_path / "out" / "adapter").exists()


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "disk of .* is full"),
        (RuntimeError("[enforce fail] PytorchStreamWriter failed writing file"), "disk of .* is full"),
        (MemoryError(), "not enough memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), "not enough memory"),
    ],
)
def test_full_disk_and_memory_are_said_in_words(error: Exception, words: str, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=words), clear_errors(tmp_path):
        raise error


def test_other_errors_stay_what_they_are(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="a bug"), clear_errors(tmp_path):
        raise RuntimeError("a bug")
