"""A run learns, stops and goes on as if it had not stopped, and its folder opens elsewhere."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from rlhf.starter.export import export, mean
from rlhf.starter.model import Starter, from_transformers, qwen3_config, to_transformers
from rlhf.starter.muon import Muon, orthogonal
from rlhf.starter.tokenizer import load_tokenizer
from rlhf.starter.train import Recipe, Trainer, factor
from tests.rlhf.conftest import TINY

RECIPE = Recipe(shape=TINY, minutes=60, batch_tokens=1024, compiled=False, warm_up_steps=5)


def test_the_own_forward_pass_is_transformers() -> None:
    torch.manual_seed(0)
    model = Starter(TINY, 64)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    other = to_transformers(model, qwen3_config(TINY, 64, end=1, pad=0))
    tokens = torch.randint(0, 64, (2, 30))
    with torch.no_grad():
        assert torch.allclose(model.logits(tokens), other(tokens).logits, atol=2e-3)


def test_loss_is_over_marked_tokens_only() -> None:
    torch.manual_seed(0)
    model = Starter(TINY, 64)
    tokens = torch.randint(0, 64, (1, 12))
    marks = torch.zeros(1, 12, dtype=torch.bool)
    marks[0, 7] = True
    logits = model.logits(tokens[:, :-1])
    expected = torch.nn.functional.cross_entropy(logits[:, 6], tokens[:, 7])
    assert torch.allclose(model.loss(tokens, marks), expected)


def test_a_run_learns(tokens: Path, tmp_path: Path) -> None:
    trainer = Trainer(RECIPE, tokens, tmp_path)
    losses = [trainer.advance() for _ in range(25)]
    assert sum(losses[-5:]) < 0.9 * sum(losses[:5])


def test_a_resumed_run_gives_the_same_losses(tokens: Path, tmp_path: Path) -> None:
    whole = Trainer(RECIPE, tokens, tmp_path / "whole")
    expected = [whole.advance() for _ in range(6)]
    first = Trainer(RECIPE, tokens, tmp_path / "parts")
    begun = [first.advance() for _ in range(3)]
    first.save()
    rest = Trainer(RECIPE, tokens, tmp_path / "parts")
    assert begun + [rest.advance() for _ in range(3)] == pytest.approx(expected, rel=1e-4)
    assert rest.step == 6


def test_the_rate_warms_up_holds_and_falls_to_zero() -> None:
    recipe = Recipe(minutes=100, warm_up_steps=10, decay_share=0.4)
    assert factor(recipe, 0, 0) == pytest.approx(0.1)
    assert factor(recipe, 50, 60) == 1.0
    assert factor(recipe, 50, 80) == pytest.approx(0.5)
    assert factor(recipe, 50, 100) == 0.0


def test_the_log_and_the_recipe_are_kept(tokens: Path, tmp_path: Path) -> None:
    Trainer(RECIPE, tokens, tmp_path).run(stop=3)
    rows = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert rows[-1]["step"] == 3
    assert json.loads((tmp_path / "recipe.json").read_text())["shape"]["hidden"] == TINY.hidden


def test_the_exported_folder_opens_in_transformers(tokens: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    tokenizer = load_tokenizer(tokens)
    model = Starter(TINY, (len(tokenizer) + 31) // 32 * 32)
    export(model, tokenizer, tmp_path)
    assert all(path.stat().st_size <= 15_000_000 for path in tmp_path.glob("*.safetensors"))
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32)
    words: Any = AutoTokenizer.from_pretrained(tmp_path)
    ids = words.apply_chat_template(
        [{"role": "user", "content": "hi"}], add_generation_prompt=True, return_tensors="pt", return_dict=True
    )["input_ids"]
    with torch.no_grad():
        assert torch.allclose(theirs(ids).logits, from_transformers(tmp_path).logits(ids), atol=1e-3)
        assert torch.allclose(theirs(ids).logits, model.logits(ids), atol=2e-2)


def test_the_mean_of_two_states_lies_between_them(tokens: Path, tmp_path: Path) -> None:
    tokenizer, folders = load_tokenizer(tokens), [tmp_path / name for name in ("one", "other", "mean")]
    for seed, folder in enumerate(folders[:2]):
        torch.manual_seed(seed)
        export(Starter(TINY, (len(tokenizer) + 31) // 32 * 32), tokenizer, folder)
    mean(folders[0], folders[1], folders[2], share=0.25)
    one, other, made = (dict(from_transformers(folder).named_parameters()) for folder in folders)
    for name, weight in made.items():
        assert torch.allclose(weight, 0.75 * one[name] + 0.25 * other[name], atol=1e-3)


def test_a_step_of_muon_is_nearly_orthogonal_and_as_torch_makes_it() -> None:
    torch.manual_seed(3)
    for rows, columns in ((24, 40), (40, 24), (32, 32)):
        stack = torch.randn(3, rows, columns)
        values = torch.linalg.svdvals(orthogonal(stack))
        assert float(values.min()) > 0.3
        assert float(values.max()) < 1.4
    ours, theirs = (torch.nn.Parameter(torch.ones(24, 40)) for _ in range(2))
    gradient = torch.randn(24, 40)
    ours.grad, theirs.grad = gradient.clone(), gradient.clone()
    Muon([ours], lr=0.01, weight_decay=0.1).step()
    reference = torch.optim.Muon([theirs], lr=0.01, weight_decay=0.1, adjust_lr_fn="match_rms_adamw")
    reference.step()  # type: ignore[no-untyped-call]  # torch's own
    # torch iterates in bfloat16
    assert torch.allclose(ours, theirs, atol=2e-3)
