"""PEFT folders for the tiny model, good ones and broken ones, written without torch."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from tests.llm_server.tiny import Sizes

TINY = Sizes()
STARTER = Sizes(hidden=256, feed_forward=768, layers=6, heads=8, kv_heads=4, width=32)
ALL = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
Tensors = dict[str, NDArray[Any]]


def shape(target: str, sizes: Sizes) -> tuple[int, int]:
    """(inputs, outputs) of a target."""
    inner, kv = sizes.heads * sizes.width, sizes.kv_heads * sizes.width
    return {
        "q_proj": (sizes.hidden, inner),
        "k_proj": (sizes.hidden, kv),
        "v_proj": (sizes.hidden, kv),
        "o_proj": (inner, sizes.hidden),
        "gate_proj": (sizes.hidden, sizes.feed_forward),
        "up_proj": (sizes.hidden, sizes.feed_forward),
        "down_proj": (sizes.feed_forward, sizes.hidden),
    }[target]


def module(layer: int, target: str) -> str:
    """PEFT's name of a module."""
    part = "mlp" if target in ("gate_proj", "up_proj", "down_proj") else "self_attn"
    return f"base_model.model.model.layers.{layer}.{part}.{target}"


def make_adapter(
    folder: Path,
    seed: int,
    *,
    rank: int = 4,
    alpha: float = 8,
    targets: Sequence[str] = ALL,
    size: float = 0.05,
    kind: type[np.floating[Any]] = np.float32,
    sizes: Sizes = TINY,
    **config: Any,
) -> Path:
    """Write a random LoRA; `size` is the spread of its B matrices."""
    rng = np.random.default_rng(seed)
    tensors: Tensors = {}
    for layer in range(sizes.layers):
        for target in targets:
            inputs, outputs = shape(target, sizes)
            name = module(layer, target)
            tensors[f"{name}.lora_A.weight"] = rng.normal(0, 0.1, (rank, inputs)).astype(kind)
            tensors[f"{name}.lora_B.weight"] = rng.normal(0, size, (outputs, rank)).astype(kind)
    folder.mkdir(parents=True, exist_ok=True)
    save_file(tensors, folder / WEIGHTS, {"format": "pt"})
    fields = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "r": rank,
        "lora_alpha": alpha,
        "target_modules": list(targets),
        "bias": "none",
        "use_dora": False,
        "use_rslora": False,
        "modules_to_save": None,
        "base_model_name_or_path": "tiny",
        **config,
    }
    (folder / CONFIG).write_text(json.dumps(fields))
    return folder


def edit_config(folder: Path, **fields: Any) -> None:
    """Change fields of the configuration."""
    content = json.loads((folder / CONFIG).read_text())
    (folder / CONFIG).write_text(json.dumps({**content, **fields}))


def edit_tensors(folder: Path, change: Callable[[Tensors], Tensors]) -> None:
    """Write other tensors."""
    save_file(change(load_file(folder / WEIGHTS)), folder / WEIGHTS, {"format": "pt"})


def edit_bytes(path: Path, change: Callable[[bytes], bytes]) -> None:
    """Change the bytes of a file."""
    path.write_bytes(change(path.read_bytes()))
