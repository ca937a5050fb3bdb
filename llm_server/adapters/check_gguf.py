"""Reasons to refuse a GGUF LoRA: llama.cpp's own loader checks names and shapes only."""

from pathlib import Path

import numpy as np
from gguf import GGMLQuantizationType, GGUFReader

from llm_server.adapters.base import Base
from llm_server.adapters.check_peft import ALORA, MAX_RANK, Facts, refuse
from llm_server.errors import AdapterRefused

KINDS = (
    GGMLQuantizationType.F32,
    GGMLQuantizationType.F16,
    GGMLQuantizationType.BF16,
    GGMLQuantizationType.Q8_0,
)
A_END, B_END = ".lora_a", ".lora_b"


def check_gguf(path: Path, base: Base, whose: str = "the base") -> Facts:
    """AdapterRefused with the first reason found; `code` names it. `whose` tensors those of
    `base` are, in words.
    """
    try:
        reader = GGUFReader(path)
    except (OSError, ValueError, IndexError, KeyError) as error:
        raise AdapterRefused(f"{path.name} cannot be read: {error}.", code="truncated") from error

    def said(key: str) -> object:
        field = reader.fields.get(key)
        return None if field is None else field.contents()

    if said("general.type") != "adapter" or said("adapter.type") != "lora":
        refuse("unknown_format", f"{path.name} is a GGUF file, but no LoRA adapter.")
    if said("general.architecture") != base.architecture:
        refuse(
            "base_mismatch",
            f"it is for the architecture {said('general.architecture')}, the base is {base.architecture}.",
        )
    if said("adapter.alora.invocation_tokens"):
        refuse("alora", f"it is an activated LoRA (aLoRA): {ALORA}")
    named = said("loopyard.base_sha256")
    if named and named not in base.weights:
        refuse("base_mismatch", f"it was trained on the base {str(named)[:12]}…, which is not this one.")
    ranks = _check_tensors(reader, base, whose)
    alpha = said("adapter.lora.alpha")
    targets = tuple(sorted({name.split(".")[-2] for name in ranks}))
    return Facts(max(ranks.values()), float(str(alpha or 0)), targets, 2 * len(ranks))


def _check_tensors(reader: GGUFReader, base: Base, whose: str) -> dict[str, int]:
    tensors = {tensor.name: tensor for tensor in reader.tensors}
    if not tensors:
        refuse("missing_tensors", "it has no tensors.")
    ranks: dict[str, int] = {}
    for name, tensor in tensors.items():
        target = name.removesuffix(A_END).removesuffix(B_END)
        if target == name:
            refuse("extra_tensors", f"{name} is neither a lora_a nor a lora_b matrix.")
        if target not in base.shapes:
            refuse("base_mismatch", f"{whose} has no tensor {target} that an adapter could change.")
        if target + A_END not in tensors or target + B_END not in tensors:
            refuse("missing_tensors", f"{target} has only one of lora_a and lora_b.")
        if tensor.tensor_type not in KINDS:
            refuse("unsupported_dtype", f"{name} is {tensor.tensor_type.name}.")
        if tensor.tensor_type in KINDS[:2] and not np.isfinite(tensor.data.astype(np.float32)).all():
            refuse("not_finite", f"{name} holds values that are not finite.")
        if name.endswith(A_END):
            ranks[target] = _rank(
                target, tuple(map(int, tensor.shape)), tuple(map(int, tensors[target + B_END].shape)), base
            )
    return ranks


def _rank(target: str, first: tuple[int, ...], second: tuple[int, ...], base: Base) -> int:
    """The rank where A, B and the base's matrix fit (columns first; embeddings are written transposed)."""
    columns, rows = base.shapes[target][:2]
    straight = (first[0], second[1]) == (columns, rows) and first[1] == second[0]
    flipped = (
        target.startswith("token_embd")
        and first[0] == second[0]
        and (first[1], second[1]) in ((rows, columns), (columns, rows))
    )
    if not (straight or flipped):
        refuse("shape_mismatch", f"{target} is {columns} x {rows}, its matrices are {first} and {second}.")
    rank = second[0]
    if not 1 <= rank <= MAX_RANK:
        refuse("rank_unsupported", f"its rank is {rank}; 1 to {MAX_RANK} are supported.")
    return rank
