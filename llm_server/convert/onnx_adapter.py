"""A PEFT LoRA folder, or a GGUF LoRA, to an adapter for ONNX Runtime: a file in the graph's names.

A is stored as [in, rank] and B as [rank, out], both in 32 bits, with alpha / rank (alpha / sqrt(rank) for
rank-stabilised LoRA, Kalajdzievski, 2023) folded into B.
"""

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from llm_server.adapters.check_peft import check_config
from llm_server.adapters.source import WEIGHTS, read_config
from llm_server.backends.onnx_bank import BASE_KEY
from llm_server.backends.onnx_manifest import Manifest, input_names
from llm_server.convert.files import publish
from llm_server.convert.gguf_adapter import read_gguf_adapter
from llm_server.errors import AdapterRefused

NAME = re.compile(r"base_model\.model\.(.+)\.lora_(A|B)(?:\.default)?\.weight")
JOINT = {"qkv_proj": ("q_proj", "k_proj", "v_proj"), "gate_up_proj": ("gate_proj", "up_proj")}
Matrix = NDArray[np.float32]


def convert_adapter(folder: Path, manifest: Manifest, target: Path) -> Path:
    """Write `target` from a PEFT folder, whole or not at all.

    AdapterRefused, with a code, for what the graph cannot apply: dora, modules_to_save, bias, alpha_pattern,
    unsupported_type, unsupported_target, base_mismatch, rank_too_large, not_finite, missing_tensors.
    """
    config = read_config(folder)
    check_config(config)
    pairs = _pairs(read_tensors(folder / WEIGHTS))
    scaled = {
        m: (first, second * np.float32(_scale(config, len(first)))) for m, (first, second) in pairs.items()
    }
    return _publish(_apart(scaled, manifest), manifest, target)


def convert_gguf_adapter(path: Path, manifest: Manifest, target: Path) -> Path:
    """The same from a GGUF LoRA that `check_gguf` has let through."""
    return _publish(read_gguf_adapter(path, manifest), manifest, target)


def _publish(pairs: Mapping[str, tuple[Matrix, Matrix]], manifest: Manifest, target: Path) -> Path:
    tensors: dict[str, Matrix] = {}
    for module, (first, second) in sorted(pairs.items()):
        _check_pair(module, first, second, manifest)
        names = input_names(module)
        tensors[names[0]] = np.ascontiguousarray(first.T)
        tensors[names[1]] = np.ascontiguousarray(second.T)
    return publish(target, lambda part: _write(part, tensors, manifest.source))


def _apart(
    pairs: Mapping[str, tuple[Matrix, Matrix]], manifest: Manifest
) -> dict[str, tuple[Matrix, Matrix]]:
    """A module that transformers has in one piece and the graph in several, such as Phi-3's `qkv_proj`, as
    those: rows of B are theirs, A is the same for all.
    """
    out: dict[str, tuple[Matrix, Matrix]] = {}
    for module, (first, second) in pairs.items():
        stem, _, name = module.rpartition(".")
        parts = [f"{stem}.{part}" for part in JOINT.get(name, ())]
        sizes = [manifest.targets.get(part, (0, 0))[1] for part in parts]
        if module in manifest.targets or not all(sizes) or sum(sizes) != len(second):
            out[module] = first, second
            continue
        for part, rows in zip(parts, np.split(second, np.cumsum(sizes)[:-1]), strict=True):
            out[part] = first, rows
    return out


def _write(part: Path, tensors: dict[str, Matrix], base: str) -> None:
    """OSError, as every writer has it."""
    try:
        # One entry of metadata: safetensors writes several in any order, and the file would not be the same.
        save_file(tensors, part, {BASE_KEY: base})
    except SafetensorError as error:
        raise OSError(str(error)) from error


def read_tensors(path: Path) -> dict[str, Matrix]:
    """All tensors, in 32 bits."""
    try:
        # Through torch: numpy has no bfloat16.
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name).float().numpy() for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise AdapterRefused(f"{path.name} cannot be read: {error}.", code="truncated") from error


def _pairs(tensors: dict[str, Matrix]) -> dict[str, tuple[Matrix, Matrix]]:
    """Module to A [rank, in] and B [out, rank]."""
    found: dict[str, dict[str, Matrix]] = {}
    for name, tensor in tensors.items():
        named = NAME.fullmatch(name)
        if named is None:
            raise AdapterRefused(f"{name} is no LoRA matrix of a linear layer.", code="unsupported_target")
        if tensor.ndim != 2 or not np.isfinite(tensor).all():
            raise AdapterRefused(f"{name} holds values that are not finite.", code="not_finite")
        found.setdefault(named[1], {})[named[2]] = tensor
    odd = next((module for module, sides in found.items() if len(sides) < 2), None)
    if odd is not None or not found:
        raise AdapterRefused(f"Matrices are missing ({odd or 'all of them'}).", code="missing_tensors")
    return {module: (sides["A"], sides["B"]) for module, sides in found.items()}


def _check_pair(module: str, first: Matrix, second: Matrix, manifest: Manifest) -> None:
    sizes = manifest.targets.get(module)
    if sizes is None:
        raise AdapterRefused(
            f"{module} is not a module of this model that adapters can change.", code="unsupported_target"
        )
    rank = len(first)
    if rank > manifest.max_rank:
        raise AdapterRefused(f"{module} has rank {rank}, over {manifest.max_rank}.", code="rank_too_large")
    if (first.shape[1], len(second)) != sizes or second.shape[1] != rank:
        raise AdapterRefused(
            f"{module} has A {first.shape} and B {second.shape}; this base has {sizes[0]} inputs and "
            f"{sizes[1]} outputs there.",
            code="base_mismatch",
        )


def _scale(config: dict[str, Any], rank: int) -> float:
    alpha = float(config["lora_alpha"])
    return alpha / math.sqrt(rank) if config.get("use_rslora") else alpha / rank
