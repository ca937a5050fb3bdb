"""Banks: adapters as the ONNX engine keeps them, and a format that they can be loaded from, by llama.cpp too.

One safetensors file has A as [in, rank] and B as [rank, out] for each module; alpha / rank is in B.
"""

import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from llm_server.adapters import check_peft
from llm_server.adapters.check_peft import MAX_RANK, Facts, check_finite, read_shapes, refuse
from llm_server.adapters.source import CONFIG, WEIGHTS
from llm_server.backends.onnx_bank import BASE_KEY
from llm_server.convert.onnx_adapter import read_tensors
from llm_server.errors import AdapterRefused

A_END, B_END = ".lora_A", ".lora_B"


def check_bank(path: Path, base: str | None) -> Facts:
    """AdapterRefused with the first reason found; `code` names it. `base`: hash of the transformers folder
    that is served, None where it is not known.
    """
    shapes = read_shapes(path)
    named = _base_of(path)
    if base is not None and named != base:
        refuse("base_mismatch", f"it was made for the base {named[:12]}…, this one is {base[:12]}….")
    for name in shapes:
        if not name.endswith((A_END, B_END)):
            refuse("extra_tensors", f"{name} is neither a lora_A nor a lora_B matrix.")
    ranks = {module: _rank(module, shapes) for module in _modules(shapes)}
    check_finite(path)
    rank = max(ranks.values())
    return Facts(rank, float(rank), tuple(sorted({m.split(".")[-1] for m in ranks})), len(shapes))


def write_peft(path: Path, folder: Path) -> Path:
    """A bank that was checked, as a PEFT folder. Its one alpha is the largest rank, and is divided by the
    rank of each module: B makes up for that.
    """
    bank = read_tensors(path)
    modules = _modules(bank)
    rank = max(bank[module + A_END].shape[1] for module in modules)
    tensors = {}
    for module in modules:
        first, second = bank[module + A_END], bank[module + B_END]
        name = f"base_model.model.{module}"
        share = np.float32(first.shape[1] / rank)
        tensors[name + check_peft.A_END] = np.ascontiguousarray(first.T)
        tensors[name + check_peft.B_END] = np.ascontiguousarray(second.T) * share
    save_file(tensors, folder / WEIGHTS, {"format": "pt"})
    targets = sorted({module.split(".")[-1] for module in modules})
    config = {"peft_type": "LORA", "r": rank, "lora_alpha": rank, "target_modules": targets}
    (folder / CONFIG).write_text(json.dumps(config))
    return folder


def _modules(names: Iterable[str]) -> list[str]:
    return sorted({name.removesuffix(A_END).removesuffix(B_END) for name in names})


def _rank(module: str, shapes: dict[str, tuple[int, ...]]) -> int:
    first, second = shapes.get(module + A_END), shapes.get(module + B_END)
    if first is None or second is None:
        raise AdapterRefused(
            f"The adapter is refused: {module} has only one of lora_A and lora_B.", code="missing_tensors"
        )
    if len(first) != 2 or len(second) != 2 or first[1] != second[0]:
        refuse("shape_mismatch", f"{module} has lora_A {first} and lora_B {second}, which do not fit.")
    if not 1 <= first[1] <= MAX_RANK:
        refuse("rank_unsupported", f"the rank of {module} is {first[1]}; 1 to {MAX_RANK} are supported.")
    return first[1]


def _base_of(path: Path) -> str:
    try:
        with safe_open(path, framework="np") as file:
            named = (file.metadata() or {}).get(BASE_KEY)
    except (SafetensorError, OSError) as error:
        raise AdapterRefused(f"{path.name} cannot be read: {error}.", code="truncated") from error
    if named is None:
        raise AdapterRefused(
            f"{path.name} is a safetensors file, but no bank of an adapter: it names no base. A PEFT adapter "
            "is given as its folder.",
            code="unknown_format",
        )
    return str(named)
