"""Reasons to refuse a PEFT folder, found before anything is converted."""

import json
import math
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open

from llm_server.adapters.base import Base, vocabulary_hash
from llm_server.adapters.source import IDLE, WEIGHTS, read_config
from llm_server.errors import AdapterRefused

MAX_RANK = 512
KINDS = {"F32": 4, "F16": 2, "BF16": 2}
A_END, B_END = ".lora_A.weight", ".lora_B.weight"
BASE_KEY = "base_sha256"
"""Our trainers write the hash of the base's weights under this name, beside PEFT's own fields."""
JUDGED = frozenset(
    {
        *("peft_type", "task_type", "r", "lora_alpha", "use_dora", "use_rslora", "modules_to_save", "bias"),
        *("alpha_pattern", "rank_pattern", "target_modules", "trainable_token_indices", "lora_bias"),
        *("init_lora_weights", "alora_invocation_tokens", "invocation_string", BASE_KEY),
    }
)
"""Fields with a rule below."""
NOTHING_LEFT = frozenset(
    {
        *("lora_dropout", "fan_in_fan_out", "exclude_modules", "layers_to_transform", "layers_pattern"),
        *("megatron_core", "loftq_config", "eva_config", "corda_config", "lora_ga_config"),
        *("qalora_group_size", "ensure_weight_tying"),
    }
)
"""Fields that say how it was trained, or where: the tensors hold all that is left of them."""
STARTS = frozenset({"none", "true", "false", "gaussian", "eva", "orthogonal"})
"""Values of `init_lora_weights` that leave the base's weights alone."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What an adapter is, for people."""

    rank: int
    alpha: float
    targets: tuple[str, ...]
    tensors: int


def check_peft(folder: Path, base: Base) -> Facts:
    """AdapterRefused with the first reason found; `code` names it."""
    config = read_config(folder)
    check_config(config)
    check_base(config, base)
    if base.tokenizer and vocabulary_hash(folder) not in ("", base.tokenizer):
        refuse("tokenizer_mismatch", "its tokenizer.json has other tokens than the base model's.")
    shapes = read_shapes(folder / WEIGHTS)
    ranks = check_pairs(shapes, config)
    check_targets(shapes, config, base)
    check_finite(folder / WEIGHTS)
    targets = tuple(sorted({name.split(".")[-1] for name in ranks}))
    return Facts(max(ranks.values()), float(config["lora_alpha"]), targets, len(shapes))


def refuse(code: str, why: str) -> None:
    """Raise it."""
    raise AdapterRefused(f"The adapter is refused: {why}", code=code)


def check_config(config: dict[str, Any]) -> None:
    """What the configuration alone says: whether it is a plain LoRA, which is all that engines apply."""
    rank, alpha = config.get("r"), config.get("lora_alpha")
    kind, task, saved = (config.get(key) for key in ("peft_type", "task_type", "modules_to_save"))
    start, odd = config.get("init_lora_weights"), _unknown_field(config)
    whole = isinstance(rank, int) and not isinstance(rank, bool)
    number = isinstance(alpha, int | float) and not isinstance(alpha, bool) and math.isfinite(alpha)
    rules: list[tuple[object, str, str]] = [
        (kind != "LORA", "unsupported_type", f"peft_type is {kind!r}, not LORA."),
        (not whole, "bad_config", f"r is {rank!r}, not a whole number."),
        (not number, "bad_config", f"lora_alpha is {alpha!r}, not a number."),
        (config.get("use_dora"), "dora", "it uses DoRA, whose magnitudes are not applied. Train without it."),
        (saved, "modules_to_save", f"it replaces whole modules ({saved}). Merge it, or train without them."),
        (config.get("bias", "none") != "none", "bias", f"it trains biases (bias={config.get('bias')!r})."),
        (config.get("alpha_pattern"), "alpha_pattern", "it has an alpha of its own for some modules."),
        (config.get("trainable_token_indices"), "unsupported_type", "it trains single tokens."),
        (task not in (None, "CAUSAL_LM"), "unsupported_type", f"task_type is {task!r}, not CAUSAL_LM."),
        (config.get("lora_bias"), "bias", "it trains biases (lora_bias)."),
        (_activated(config), "alora", f"it is an activated LoRA (aLoRA): {ALORA}"),
        (str(start).lower() not in STARTS, "base_changed", f"init_lora_weights is {start!r}: {PISSA}"),
        (
            odd,
            "unsupported_field",
            f"`{odd}` ({_value(config, odd)}) is not known here, nor what it does.",
        ),
    ]
    for broken, code, why in rules:
        if broken:
            refuse(code, why)
    if not 1 <= int(config["r"]) <= MAX_RANK:
        refuse("rank_unsupported", f"its rank is {rank}; 1 to {MAX_RANK} are supported.")


ALORA = "it begins at its invocation tokens, and here it would change the whole prompt. Train a plain LoRA."
PISSA = (
    "training has changed the base's weights too. Save it as a plain LoRA (PEFT: save_pretrained with "
    "path_initial_model_for_weight_conversion)."
)


def _activated(config: dict[str, Any]) -> bool:
    return bool(config.get("alora_invocation_tokens") or config.get("invocation_string"))


def _unknown_field(config: dict[str, Any]) -> str | None:
    """The first field that is set and may change what is computed: newer versions of PEFT have more."""
    known = JUDGED | NOTHING_LEFT | IDLE
    return next((key for key, value in config.items() if value and key not in known), None)


def _value(config: dict[str, Any], field: str | None) -> str:
    return repr(config.get(field or ""))[:60]


def check_base(config: dict[str, Any], base: Base) -> None:
    """The base that an adapter of our trainers names is this one."""
    named = config.get(BASE_KEY)
    if named and named not in base.weights:
        refuse("base_mismatch", f"it was trained on the base {str(named)[:12]}…, which is not this one.")


def read_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """Tensor names and shapes; every byte that the header promises is there."""
    try:
        with path.open("rb") as file:
            size = struct.unpack("<Q", file.read(8))[0]
            if size > 100 << 20:
                raise ValueError("its header is too long")
            header = json.loads(file.read(size))
        there = path.stat().st_size - 8 - size
    except (OSError, ValueError, struct.error) as error:
        raise AdapterRefused(f"{path.name} cannot be read: {error}.", code="truncated") from error
    shapes: dict[str, tuple[int, ...]] = {}
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        if entry["dtype"] not in KINDS:
            refuse("unsupported_dtype", f"{name} is {entry['dtype']}; F32, F16 and BF16 are supported.")
        if entry["data_offsets"][1] > there:
            refuse("truncated", f"{path.name} ends before {name} does.")
        shapes[name] = tuple(entry["shape"])
    if not shapes:
        refuse("missing_tensors", f"{path.name} has no tensors.")
    return shapes


def check_pairs(shapes: dict[str, tuple[int, ...]], config: dict[str, Any]) -> dict[str, int]:
    """Module to rank: every A has its B and fits it."""
    modules = {name.removesuffix(A_END) for name in shapes if name.endswith(A_END)}
    for name in shapes:
        if not name.endswith((A_END, B_END)):
            refuse("extra_tensors", f"{name} is neither a lora_A nor a lora_B matrix.")
    ranks = {}
    for name in shapes:
        module = name.removesuffix(A_END).removesuffix(B_END)
        first, second = shapes.get(module + A_END), shapes.get(module + B_END)
        if module not in modules or second is None or first is None:
            refuse("missing_tensors", f"{module} has only one of lora_A and lora_B.")
        elif len(first) != 2 or len(second) != 2 or first[0] != second[1]:
            refuse("shape_mismatch", f"{module} has lora_A {first} and lora_B {second}, which do not fit.")
        else:
            ranks[module] = first[0]
    allowed = {int(config["r"]), *(int(r) for r in (config.get("rank_pattern") or {}).values())}
    odd = next((module for module, rank in ranks.items() if rank not in allowed), None)
    if odd:
        refuse("rank_unsupported", f"{odd} has rank {ranks[odd]}, but the configuration says {config['r']}.")
    return ranks


def check_targets(shapes: dict[str, tuple[int, ...]], config: dict[str, Any], base: Base) -> None:
    """Layers that the base has, and each target in every layer that is adapted."""
    layers = {int(part) for name in shapes for part in name.split(".") if part.isdigit()}
    if layers and max(layers) >= base.layers:
        refuse("base_mismatch", f"it has layer {max(layers)}, but the base has {base.layers} layers.")
    wanted = config.get("target_modules")
    if not isinstance(wanted, list):
        return
    there = {name.removesuffix(A_END).removesuffix(B_END) for name in shapes}
    for target in wanted:
        if not any(module.endswith(f".{target}") or module == target for module in there):
            refuse("missing_tensors", f"the configuration names {target}, but no tensor of it is there.")


def check_finite(path: Path) -> None:
    """No infinity and no NaN in any tensor."""
    check: Callable[[Any], bool] = lambda values: bool(np.isfinite(values).all())  # noqa: E731
    try:
        with safe_open(path, framework="pt") as file:
            for name in file.keys():  # noqa: SIM118 (not a mapping)
                if not check(file.get_tensor(name).float().numpy()):
                    refuse("not_finite", f"{name} holds values that are not finite.")
    except SafetensorError as error:
        raise AdapterRefused(f"{path.name} cannot be read: {error}.", code="truncated") from error
