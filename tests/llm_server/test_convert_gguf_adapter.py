"""GGUF LoRAs that become adapters for ONNX Runtime are the PEFT adapters that they were made from."""

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from llm_server.adapters.convert import Converter
from llm_server.backends.onnx_manifest import Manifest
from llm_server.convert.gguf_adapter import gguf_names, gguf_shapes
from llm_server.convert.onnx_adapter import convert_adapter, convert_gguf_adapter
from tests.llm_server.adapters.making import Tensors, edit_tensors
from tests.llm_server.onnx_models import make_peft

HIDDEN, FEED, HEADS, KV_HEADS, HEAD = 24, 40, 4, 2, 8
SIZES = {
    "self_attn.q_proj": (HIDDEN, HEADS * HEAD),
    "self_attn.k_proj": (HIDDEN, KV_HEADS * HEAD),
    "self_attn.v_proj": (HIDDEN, KV_HEADS * HEAD),
    "self_attn.o_proj": (HEADS * HEAD, HIDDEN),
    "mlp.gate_proj": (HIDDEN, FEED),
    "mlp.up_proj": (HIDDEN, FEED),
    "mlp.down_proj": (FEED, HIDDEN),
}
JOINT = {
    "self_attn.qkv_proj": (HIDDEN, (HEADS + 2 * KV_HEADS) * HEAD),
    "self_attn.o_proj": (HEADS * HEAD, HIDDEN),
    "mlp.gate_up_proj": (HIDDEN, 2 * FEED),
    "mlp.down_proj": (FEED, HIDDEN),
}
CLASSES = {
    "llama": "LlamaForCausalLM",
    "mistral": "MistralForCausalLM",
    "qwen2": "Qwen2ForCausalLM",
    "qwen3": "Qwen3ForCausalLM",
    "gemma": "GemmaForCausalLM",
    "gemma2": "Gemma2ForCausalLM",
    "gemma3_text": "Gemma3ForCausalLM",
    "phi3": "Phi3ForCausalLM",
}


def manifest(kind: str, sizes: dict[str, tuple[int, int]]) -> Manifest:
    targets = {f"model.layers.{n}.{name}": size for n in (0, 1) for name, size in sizes.items()}
    return Manifest(kind, "the-base", "fp32", "float32", 2, HEADS, KV_HEADS, HEAD, 10, 64, (1,), 16, targets)


@pytest.fixture(scope="module")
def converter() -> Iterator[Converter]:
    opened = Converter()
    yield opened
    opened.close()


def base(folder: Path, kind: str) -> Path:
    """Only what the converter of adapters reads."""
    folder.mkdir()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from transformers import AutoConfig

        config = AutoConfig.for_model(
            kind,
            hidden_size=HIDDEN,
            intermediate_size=FEED,
            num_hidden_layers=2,
            num_attention_heads=HEADS,
            num_key_value_heads=KV_HEADS,
            head_dim=HEAD,
            vocab_size=64,
            pad_token_id=0,
            architectures=[CLASSES[kind]],
        )
        config.save_pretrained(folder)
    return folder


@pytest.mark.parametrize("kind", CLASSES)
def test_both_ways_lead_to_the_same_matrices(tmp_path: Path, converter: Converter, kind: str) -> None:
    """Names, the turned rows of Llama's queries and keys, Phi-3's joint modules, alpha over rank."""
    model = manifest(kind, SIZES)
    sizes = JOINT if kind == "phi3" else SIZES
    peft = make_peft(tmp_path / "peft", manifest(kind, sizes), rank=4, modules=tuple(sizes), seed=7)
    lora = tmp_path / "lora.gguf"
    converter.convert(peft, base(tmp_path / "base", kind), lora)
    straight = load_file(convert_adapter(peft, model, tmp_path / "straight.safetensors"))
    around = load_file(convert_gguf_adapter(lora, model, tmp_path / "around.safetensors"))
    assert len(straight) == 2 * len(model.targets)
    assert straight.keys() == around.keys()
    for name, matrix in straight.items():
        # The GGUF file has 16 bits.
        assert np.allclose(around[name], matrix, rtol=1e-3, atol=1e-5), name


def test_shapes_of_joint_tensors_are_sums() -> None:
    shapes = gguf_shapes(manifest("phi3", SIZES))
    assert shapes["blk.1.attn_qkv.weight"] == (HIDDEN, (HEADS + 2 * KV_HEADS) * HEAD)
    assert shapes["blk.1.ffn_up.weight"] == (HIDDEN, 2 * FEED)
    assert gguf_shapes(manifest("qwen3", SIZES))["blk.1.ffn_up.weight"] == (HIDDEN, FEED)


def test_an_architecture_that_is_not_known_has_no_names() -> None:
    assert gguf_names(manifest("nemotron", SIZES)) == {}


@pytest.mark.parametrize("stabilised", [False, True])
def test_ranks_of_their_own_have_scales_of_their_own(
    tmp_path: Path, converter: Converter, stabilised: bool
) -> None:
    """alpha / rank, and alpha / root rank where it is stabilised; the rank is the module's."""
    model = manifest("qwen3", SIZES)
    pattern = {"v_proj": 2, "down_proj": 8}
    peft = make_peft(
        tmp_path / "peft", model, modules=tuple(SIZES), use_rslora=stabilised, rank_pattern=pattern
    )

    def ranked(tensors: Tensors) -> Tensors:
        out = dict(tensors)
        for name, tensor in tensors.items():
            rank = next((rank for part, rank in pattern.items() if part in name), 4)
            shape = (rank, tensor.shape[1]) if ".lora_A." in name else (tensor.shape[0], rank)
            out[name] = np.random.default_rng(len(out[name])).normal(0, 0.1, shape).astype(np.float32)
        return out

    edit_tensors(peft, ranked)
    lora = tmp_path / "lora.gguf"
    converter.convert(peft, base(tmp_path / "base", "qwen3"), lora)
    straight = load_file(convert_adapter(peft, model, tmp_path / "straight.safetensors"))
    around = load_file(convert_gguf_adapter(lora, model, tmp_path / "around.safetensors"))
    assert {tensor.shape[0] for name, tensor in straight.items() if name.endswith("B")} == {2, 4, 8}
    for name in straight:
        found, wanted = product(around, name), product(straight, name)
        assert np.abs(found - wanted).max() < 2e-3 * np.abs(wanted).max(), name


def product(tensors: Tensors, name: str) -> Any:
    """What a module adds."""
    return tensors[name[:-1] + "A"] @ tensors[name[:-1] + "B"]
