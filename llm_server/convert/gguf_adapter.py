"""A GGUF LoRA back to the matrices that it was made of, in transformers' names.

llama.cpp's converter renames modules, turns the rows of Llama's queries and keys around for its rotary
embedding, and leaves alpha / rank to whoever applies the adapter; all of that is undone here.
"""

from pathlib import Path

import numpy as np
from gguf import GGUFReader
from gguf.quants import dequantize
from numpy.typing import NDArray

from llm_server.backends.onnx_manifest import Manifest

Matrix = NDArray[np.float32]
ARCHITECTURES = {
    "llama": "llama",
    "mistral": "llama",
    "qwen2": "qwen2",
    "qwen3": "qwen3",
    "phi3": "phi3",
    "gemma": "gemma",
    "gemma2": "gemma2",
    "gemma3_text": "gemma3",
}
"""The model builder's names of architectures to llama.cpp's."""
MODULES = {
    "attn_q": ("self_attn.q_proj",),
    "attn_k": ("self_attn.k_proj",),
    "attn_v": ("self_attn.v_proj",),
    "attn_qkv": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    "attn_output": ("self_attn.o_proj",),
    "ffn_gate": ("mlp.gate_proj",),
    "ffn_up": ("mlp.up_proj",),
    "ffn_down": ("mlp.down_proj",),
}
"""llama.cpp's name in a block to the modules whose rows it holds."""
JOINT_UP = {"phi3": ("mlp.gate_proj", "mlp.up_proj")}
"""Architectures whose `ffn_up` has the gate's rows first."""
TURNED = frozenset({"llama"})
"""Architectures whose rows of queries and keys are turned around."""


def gguf_names(manifest: Manifest) -> dict[str, tuple[str, ...]]:
    """GGUF tensors that an adapter of this model may have, to their modules; empty for an architecture whose
    conversion is not known.
    """
    architecture = ARCHITECTURES.get(manifest.architecture)
    if architecture is None:
        return {}
    names = {}
    for layer in range(manifest.layers):
        for name, parts in MODULES.items():
            joint = JOINT_UP.get(architecture, parts) if name == "ffn_up" else parts
            modules = tuple(f"model.layers.{layer}.{part}" for part in joint)
            if all(module in manifest.targets for module in modules):
                names[f"blk.{layer}.{name}.weight"] = modules
    return names


def gguf_shapes(manifest: Manifest) -> dict[str, tuple[int, ...]]:
    """The same tensors' shapes as GGUF writes them: columns first."""
    return {
        name: (manifest.targets[modules[0]][0], sum(manifest.targets[module][1] for module in modules))
        for name, modules in gguf_names(manifest).items()
    }


def read_gguf_adapter(path: Path, manifest: Manifest) -> dict[str, tuple[Matrix, Matrix]]:
    """Module to A [rank, in] and B [out, rank], alpha / rank folded into B. The file was checked before."""
    reader = GGUFReader(path)
    alpha = reader.fields.get("adapter.lora.alpha")
    strength = float(str(alpha.contents())) if alpha is not None else 0.0
    tensors = {tensor.name: dequantize(tensor.data, tensor.tensor_type) for tensor in reader.tensors}
    pairs: dict[str, tuple[Matrix, Matrix]] = {}
    for name, modules in gguf_names(manifest).items():
        if f"{name}.lora_a" not in tensors:
            continue
        first, second = tensors[f"{name}.lora_a"], tensors[f"{name}.lora_b"]
        # llama.cpp takes an alpha of zero for a scale of one.
        second = second * np.float32(strength / len(first) if strength else 1)
        start = 0
        for module in modules:
            rows = manifest.targets[module][1]
            pairs[module] = first, _turned_back(second[start : start + rows], name, manifest)
            start += rows
    return pairs


def _turned_back(rows: Matrix, name: str, manifest: Manifest) -> Matrix:
    """Each head's rows: its first half, then its second; GGUF has them by turns."""
    kind = name.split(".")[2]
    if ARCHITECTURES[manifest.architecture] not in TURNED or kind not in ("attn_q", "attn_k"):
        return rows
    heads = manifest.heads if kind == "attn_q" else manifest.kv_heads
    by_turns = rows.reshape(heads, len(rows) // heads // 2, 2, -1)
    return np.ascontiguousarray(by_turns.swapaxes(1, 2).reshape(rows.shape))
