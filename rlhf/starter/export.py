"""A trained network as a model folder: half-precision safetensors in shards, tokenizer, template."""

import json
from pathlib import Path
from typing import Any

import torch
from transformers import GenerationConfig, PreTrainedTokenizerFast

from rlhf.starter.model import Starter, from_transformers, qwen3_config, to_transformers
from rlhf.starter.template import END, END_OF_TEXT, TEMPLATE
from rlhf.starter.tokenizer import load_tokenizer

SHARD = "14MB"
"""Largest shard; repositories and mail gateways alike stop files well above it."""


def export(model: Starter, tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """Write `folder` so that transformers, the GGUF converter and the ONNX builder all read it."""
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.safetensors*"):
        old.unlink()
    known = tokenizer.get_vocab()
    end, pad = known[END], known[END_OF_TEXT]
    vocabulary = model.embed_tokens.weight.shape[0]
    config = qwen3_config(model.shape, vocabulary, end, pad)
    network: Any = to_transformers(model, config)
    network = network.half()
    network.generation_config = GenerationConfig(  # type: ignore[no-untyped-call]  # transformers' own
        eos_token_id=end, pad_token_id=pad, do_sample=False
    )
    network.save_pretrained(folder, max_shard_size=SHARD)
    tokenizer.save_pretrained(folder)
    (folder / "chat_template.jinja").write_text(TEMPLATE.read_text())
    _plain_tokenizer_config(folder / "tokenizer_config.json")
    for weights in folder.glob("*.safetensors"):
        weights.chmod(0o644)


def mean(one: Path, other: Path, folder: Path, share: float = 0.5) -> None:
    """Write the mean of two model folders of one shape, `share` of it the other's. States of one run are near
    enough to each other for that (Izmailov et al., 2018).
    """
    first, second = from_transformers(one), from_transformers(other)
    with torch.no_grad():
        for mine, theirs in zip(first.parameters(), second.parameters(), strict=True):
            mine.lerp_(theirs, share)
    export(first, load_tokenizer(one), folder)


def _plain_tokenizer_config(path: Path) -> None:
    """Drop what a reader of another version could stumble over."""
    settings = json.loads(path.read_text())
    settings["tokenizer_class"] = "PreTrainedTokenizerFast"
    settings.pop("backend", None)
    path.write_text(json.dumps(settings, indent=1, sort_keys=True) + "\n")
