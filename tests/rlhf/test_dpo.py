"""Training of a LoRA adapter on preferences: repeatable, resumable, honest about its reference."""

import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from rlhf.adapters import causal, load_adapter
from rlhf.dpo import Dpo, check_reference, train
from rlhf.errors import BadRecords, TrainingError, WrongReference
from rlhf.recipe import Recipe, load_recipe
from rlhf.registry import WEIGHTS, content_digest
from rlhf.replay import rehearsal
from rlhf.runs import FILES, is_whole, last_checkpoint
from rlhf.troubles import clear_errors, hushed
from tests.rlhf.preferring import WORDS, dataset, recipe, rows, write
from tests.rlhf.preferring import base as make_base


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_base(tmp_path_factory.mktemp("dpo") / "tiny")


def quiet(_: str) -> None:
    """Nobody reads."""


def prepared(recipe: Recipe, data: Path, out: Path, base: Path, adapter: Path | None = None) -> Any:
    """A trainer that has not begun."""
    tokenizer = AutoTokenizer.from_pretrained(base)
    used, held = (Dpo().read(data / name, tokenizer, recipe) for name in FILES)
    return Dpo().prepare(recipe, used, held, out, base, adapter)


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
    assert (trained.method, trained.result) == ("dpo", "adapter")
    assert trained.data is not None
    assert set(trained.data) == {"train.jsonl", "held_out.jsonl"}
    assert {"torch", "trl", "peft"} <= set(trained.code or {})
    assert load_recipe(tmp_path / "out" / "recipe.yaml").train.epochs == 4
    assert (tmp_path / "out" / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_killed_and_resumed_it_is_the_same_adapter(base: Path, tmp_path: Path) -> None:
    data = dataset(tmp_path / "data")
    whole = train(recipe(), data, tmp_path / "whole", base, tell=quiet)
    out = tmp_path / "parts"
    code = (
        "from pathlib import Path\nfrom rlhf.dpo import train\nfrom tests.rlhf.preferring import recipe\n"
        f"train(recipe(), Path({str(data)!r}), Path({str(out)!r}), Path({str(base)!r}))"
    )
    process = subprocess.Popen([sys.executable, "-c", code], env={**os.environ, "PYTHONHASHSEED": "3"})
    while process.poll() is None and not is_whole(out / "run" / "checkpoint-2"):
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
    with hushed():
        prepared(recipe(), data, out, base).train()
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
    with hushed():
        trainer = prepared(recipe(), data, tmp_path, base, tmp_path / "first" / "adapter")
        check_reference(trainer)
    assert trainer.model is not None
    for name, parameter in trainer.model.named_parameters():
        if ".ref." in name:
            parameter.data.zero_()
    with hushed(), pytest.raises(WrongReference, match="rewards are"):
        check_reference(trainer)


def test_what_is_rehearsed_stays_nearer_to_the_base(base: Path, tmp_path: Path) -> None:
    data = dataset(tmp_path / "data")
    kept = [
        {
            "prompt": [{"role": "user", "content": f"{word}?"}],
            "completion": [{"role": "assistant", "content": word}],
        }
        for word in WORDS
    ]
    write(tmp_path / "kept.jsonl", kept)
    moved = {}
    for weight in (0.0, 20.0):
        replay = {"rows": str(tmp_path / "kept.jsonl"), "weight": weight, "batch": 4}
        plan = recipe(replay=replay, train={"epochs": 3})
        out = tmp_path / str(weight)
        trained = train(plan, data, out, base, tell=quiet)
        assert ("rehearsal" in trained.history[-1]) is (weight > 0)
        rehearsed = rehearsal(
            plan.replay.model_copy(update={"weight": 1.0}), AutoTokenizer.from_pretrained(base), 1, 256
        )
        assert rehearsed is not None
        with torch.no_grad():
            moved[weight] = float(rehearsed.loss(load_adapter(causal(base), out / "adapter"), 1, "cpu"))
    assert moved[20.0] < 0.5 * moved[0.0]


def test_a_share_of_the_change_can_be_kept(base: Path, tmp_path: Path) -> None:
    data = dataset(tmp_path / "data", count=8)
    weights = {}
    for keep in (1.0, 0.5):
        train(recipe(lora={"keep": keep}), data, tmp_path / str(keep), base, tell=quiet)
        weights[keep] = load_file(tmp_path / str(keep) / "adapter" / WEIGHTS)
    for name, whole in weights[1.0].items():
        assert torch.allclose(weights[0.5][name], whole * (0.5 if "lora_B" in name else 1.0))


def test_bad_rows_are_named(base: Path, tmp_path: Path) -> None:
    data = dataset(tmp_path / "data")
    write(data / "train.jsonl", [rows(1)[0], {"prompt": [], "chosen": []}])
    with pytest.raises(BadRecords, match=r"train\.jsonl:2: .*has no rejected"):
        train(recipe(), data, tmp_path / "out", base, tell=quiet)


def test_a_base_that_is_none_and_a_folder_without_rows_are_named(base: Path, tmp_path: Path) -> None:
    data = dataset(tmp_path / "data")
    with pytest.raises(TrainingError, match="is no model"):
        train(recipe(), data, tmp_path / "out", tmp_path / "nothing", tell=quiet)
    with pytest.raises(TrainingError, match=r"has no train\.jsonl"):
        train(recipe(), tmp_path, tmp_path / "out", base, tell=quiet)


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
        (MemoryError(), "not enough memory: lower"),
        (
            RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 4096 bytes."),
            "not enough memory for 4096 bytes more: lower",
        ),
        (
            torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has 1 GiB"),
            r"not enough memory for 2\.00 GiB more: lower",
        ),
    ],
)
def test_full_disk_and_memory_are_said_in_words(error: Exception, words: str, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=words), clear_errors(tmp_path):
        raise error


def test_other_errors_stay_what_they_are(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="a bug"), clear_errors(tmp_path):
        raise RuntimeError("a bug")


def test_label_smoothing_counts_on_wrong_labels(base: Path, tmp_path: Path) -> None:
    """The loss of Chowdhury et al. (2024): L - e m / (1 - 2 e), of the plain loss L and the margin m."""
    data = dataset(tmp_path / "data", count=4)
    found = {}
    for smoothing in (0.0, 0.2):
        with hushed():
            changes = {"label_smoothing": smoothing, "sft_weight": 0.0}
            trainer = prepared(recipe(train=changes), data, tmp_path / f"out-{smoothing}", base)
        torch.manual_seed(1)
        for name, parameter in trainer.model.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(parameter, std=0.1)
        trainer.model.eval()
        batch = dict(next(iter(trainer.get_train_dataloader())))
        with hushed(), torch.no_grad():
            loss = float(trainer.compute_loss(trainer.model, batch))
        found[smoothing] = (loss, trainer._metrics["eval"]["rewards/margins"][0])
    (plain, margin), (smooth, _) = found[0.0], found[0.2]
    assert abs(margin) > 0.01
    assert smooth == pytest.approx(plain - 0.2 * margin / 0.6, rel=1e-4)
