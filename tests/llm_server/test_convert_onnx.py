"""Folders for ONNX Runtime: whole, named by content, made once."""

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from safetensors.numpy import load_file, save_file

from llm_server.backends.onnx import OnnxBackend, OnnxOptions
from llm_server.backends.onnx_manifest import MIXED, PLAIN, SCALES, read_manifest
from llm_server.convert.onnx_adapter import convert_adapter
from llm_server.convert.onnx_folder import prepare_onnx
from llm_server.engine.backend import Chunk
from llm_server.engine.blend import blend
from llm_server.errors import PreparationFailed
from tests.llm_server.onnx_models import EVERYTHING, Reference, make_peft, prepared
from tests.llm_server.tiny import Sizes, make_tiny


def test_the_same_content_is_converted_once(models: Path) -> None:
    first = prepared(models, "fp32")
    stamp = first.stat().st_mtime_ns
    assert (prepared(models, "fp32"), first.stat().st_mtime_ns) == (first, stamp)
    assert prepared(models, "int8") != first
    assert not list(models.glob(".*.part"))


def test_the_manifest_says_what_adapters_may_change(models: Path) -> None:
    config = json.loads((models / "tiny" / "config.json").read_text())
    manifest = read_manifest(prepared(models, "fp32"))
    assert (manifest.layers, manifest.context) == (config["num_hidden_layers"], 1024)
    assert manifest.vocabulary == config["vocab_size"]
    assert config["eos_token_id"] in manifest.ends
    assert len(manifest.targets) == 7 * manifest.layers
    assert manifest.targets["model.layers.1.self_attn.q_proj"] == (256, 128)


@pytest.mark.parametrize("precision", ["fp32", "int4"])
def test_both_graphs_read_the_same_weights(models: Path, precision: str) -> None:
    graphs = [
        onnx.load(prepared(models, precision) / name, load_external_data=False) for name in (PLAIN, MIXED)
    ]
    places = [
        {
            tensor.name: {entry.key: entry.value for entry in tensor.external_data}
            for tensor in graph.graph.initializer
            if tensor.external_data
        }
        for graph in graphs
    ]
    assert places[0] == places[1] != {}
    inputs = [{given.name for given in graph.graph.input} for graph in graphs]
    assert inputs[1] - inputs[0] >= {SCALES, "model.layers.0.mlp.up_proj.lora_A"}
    assert not any("lora" in name for name in inputs[0])


def with_biases(folder: Path) -> Path:
    """The tiny model as a Qwen2: biases on queries, keys and values, and no norms on them."""
    make_tiny(folder, Sizes(heads=8))
    rng = np.random.default_rng(3)
    tensors = {}
    for name, tensor in load_file(folder / "model.safetensors").items():
        if "_norm.weight" in name and "self_attn" in name:
            continue
        tensors[name] = tensor
        if name.endswith(("q_proj.weight", "k_proj.weight", "v_proj.weight")):
            bias = name.replace("weight", "bias")
            tensors[bias] = rng.normal(0, 0.5, len(tensor)).astype(np.float32)
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    config = json.loads((folder / "config.json").read_text())
    changes = {"architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2"}
    (folder / "config.json").write_text(json.dumps(config | changes))
    return folder


def test_an_architecture_with_biases_has_the_logits_of_transformers(tmp_path: Path) -> None:
    source = with_biases(tmp_path / "source")
    backend = OnnxBackend(prepare_onnx(source, "biased", tmp_path, "fp32"), OnnxOptions(running=2, threads=1))
    folder = make_peft(tmp_path / "one", backend.manifest, modules=EVERYTHING)
    resident = backend.load_adapter(convert_adapter(folder, backend.manifest, tmp_path / "one.safetensors"))
    reference, tokens = Reference(source, {"one": folder}), list(range(40))
    rows = backend.decode([Chunk(0, 0, tokens, True, blend([(resident, 1.0)])), Chunk(1, 0, tokens, True)])
    for row, expected in zip(rows, (reference(tokens, "one"), reference(tokens)), strict=True):
        assert np.abs(backend.logits(row) - expected).max() < 1e-4
    backend.close()


def test_half_precision_is_built_for_cuda(models: Path) -> None:
    """The graph only: no test runs it."""
    manifest = read_manifest(prepared(models, "fp16"))
    assert (manifest.precision, manifest.dtype) == ("fp16", "float16")


def test_a_failed_conversion_leaves_nothing_and_says_why(tmp_path: Path) -> None:
    folder = tmp_path / "odd"
    folder.mkdir()
    (folder / "config.json").write_text('{"architectures": ["Odd"], "model_type": "odd"}')
    with pytest.raises(PreparationFailed, match="conversion failed"):
        prepare_onnx(folder, "odd", tmp_path / "out", "fp32")
    assert list((tmp_path / "out").iterdir()) == []


def test_what_cannot_be_converted_is_named(models: Path, tmp_path: Path) -> None:
    with pytest.raises(PreparationFailed, match=r"config\.json"):
        prepare_onnx(tmp_path, "x", tmp_path, "fp32")
    with pytest.raises(PreparationFailed, match="int3"):
        prepare_onnx(models / "tiny", "x", tmp_path, "int3")
