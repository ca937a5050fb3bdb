"""PEFT folders that become adapters for ONNX Runtime, and those that do not."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from llm_server.backends.onnx_manifest import Manifest
from llm_server.convert.onnx_adapter import convert_adapter
from llm_server.errors import AdapterRefused
from tests.llm_server.onnx_models import make_peft

SIZES = {"self_attn.q_proj": (6, 4), "self_attn.v_proj": (6, 2), "mlp.up_proj": (6, 8)}
TARGETS = {f"model.layers.{n}.{name}": sizes for n in (0, 1) for name, sizes in SIZES.items()}
MANIFEST = Manifest("qwen3", "the-base", "fp32", "float32", 2, 2, 1, 2, 10, 64, (1,), 16, TARGETS)
NAME = "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight"


@pytest.mark.parametrize(
    ("changes", "scale"), [({}, 4.0), ({"use_rslora": True}, 8.0), ({"lora_alpha": 2}, 0.5)]
)
def test_matrices_are_turned_and_scaled(tmp_path: Path, changes: dict[str, Any], scale: float) -> None:
    folder = make_peft(tmp_path / "peft", MANIFEST, rank=4, **changes)
    given = load_file(folder / "adapter_model.safetensors")
    made = load_file(convert_adapter(folder, MANIFEST, tmp_path / "out.safetensors"))
    assert set(made) == {
        f"model.layers.{n}.self_attn.{name}.lora_{side}"
        for n in (0, 1)
        for name in ("q_proj", "v_proj")
        for side in "AB"
    }
    for name, tensor in made.items():
        source = given[f"base_model.model.{name}.weight"].T
        assert np.allclose(tensor, source * (scale if name.endswith("B") else 1))


def test_the_same_adapter_makes_the_same_file(tmp_path: Path) -> None:
    folder = make_peft(tmp_path / "peft", MANIFEST)
    files = [convert_adapter(folder, MANIFEST, tmp_path / f"{n}.safetensors") for n in "ab"]
    assert files[0].read_bytes() == files[1].read_bytes()


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"use_dora": True}, "dora"),
        ({"modules_to_save": ["lm_head"]}, "modules_to_save"),
        ({"bias": "all"}, "bias"),
        ({"alpha_pattern": {"q_proj": 4}}, "alpha_pattern"),
        ({"peft_type": "IA3"}, "unsupported_type"),
        ({"lora_alpha": None}, "bad_config"),
    ],
)
def test_configurations_that_cannot_be_served(tmp_path: Path, changes: dict[str, Any], code: str) -> None:
    folder = make_peft(tmp_path / "peft", MANIFEST, **changes)
    refused(folder, tmp_path, code)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda t: {NAME: t[NAME] * np.inf}, "not_finite"),
        (lambda t: {NAME.replace("q_proj", "lm_head"): t[NAME]}, "missing_tensors"),
        (lambda t: {NAME.replace("lora_A", "lora_magnitude_vector"): t[NAME]}, "unsupported_target"),
        (lambda t: {NAME: np.ones((4, 5), np.float32)}, "base_mismatch"),
    ],
)
def test_tensors_that_do_not_fit(
    tmp_path: Path, change: Callable[[dict[str, Any]], dict[str, Any]], code: str
) -> None:
    folder = make_peft(tmp_path / "peft", MANIFEST)
    file = folder / "adapter_model.safetensors"
    tensors = load_file(file)
    save_file(tensors | change(tensors), file)
    refused(folder, tmp_path, code)


def test_modules_and_ranks_that_the_base_does_not_have(tmp_path: Path) -> None:
    refused(make_peft(tmp_path / "rank", MANIFEST, rank=17), tmp_path, "rank_too_large")
    other = {**TARGETS, "model.layers.2.self_attn.q_proj": (6, 4)}
    larger = Manifest("qwen3", "x", "fp32", "float32", 3, 2, 1, 2, 10, 64, (1,), 16, other)
    refused(make_peft(tmp_path / "larger", larger), tmp_path, "unsupported_target")


def test_folders_that_are_not_whole(tmp_path: Path) -> None:
    folder = make_peft(tmp_path / "peft", MANIFEST)
    (folder / "adapter_model.safetensors").write_bytes(b"short")
    refused(folder, tmp_path, "truncated")
    (folder / "adapter_config.json").write_text(json.dumps([]))
    refused(folder, tmp_path, "bad_config")
    refused(tmp_path / "nowhere", tmp_path, "bad_config")


def refused(folder: Path, place: Path, code: str) -> None:
    with pytest.raises(AdapterRefused) as error:
        convert_adapter(folder, MANIFEST, place / "out.safetensors")
    assert error.value.code == code
    assert not (place / "out.safetensors").exists()
