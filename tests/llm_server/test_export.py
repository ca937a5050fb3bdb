"""`python -m llm_server convert`: every kind can be served, merged models say what base and LoRA say."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import load_file
from typer.testing import CliRunner

from llm_server.adapters.probe import divergence
from llm_server.backends.llama_cpp import LlamaBackend, LlamaOptions
from llm_server.backends.onnx import OnnxBackend, OnnxOptions
from llm_server.cli import app
from llm_server.config.resolve import of_file
from llm_server.convert.prepare import prepare_onnx_chat
from llm_server.engine.backend import Backend, Chunk
from llm_server.engine.blend import BASE, Blend, blend
from llm_server.settings import Settings
from tests.llm_server.adapters.making import edit_config, make_adapter
from tests.llm_server.onnx_models import Reference

PROMPT = [5, 80, 17, 300, 42, 7, 256, 99, 12, 150]
EXACT = 1e-3


def convert(*arguments: object) -> tuple[int, str]:
    """Exit status, and what was said."""
    done = CliRunner().invoke(app, ["convert", *map(str, arguments)])
    return done.exit_code, " ".join(done.output.split())


def logits(backend: Backend, adapters: Blend = BASE, prompt: Sequence[int] = PROMPT) -> NDArray[np.float32]:
    """After every token, one step each."""
    rows = []
    for step, token in enumerate(prompt):
        (row,) = backend.decode([Chunk(0, step, [token], 1, adapters)])
        rows.append(backend.logits(row).copy())
    return np.stack(rows)


@pytest.fixture
def lora(tmp_path: Path) -> Path:
    return make_adapter(tmp_path / "polite", 3, rank=8, size=0.1)


@pytest.fixture
def reference(models: Path, lora: Path) -> Reference:
    return Reference(models / "tiny", {"own": lora})


def test_onnx_and_a_bank_are_served_as_they_are(
    models: Path, tmp_path: Path, lora: Path, reference: Reference
) -> None:
    folder, bank = tmp_path / "out", tmp_path / "polite.safetensors"
    status, said = convert(models / "tiny", folder, "--to", "onnx-fp32")
    assert (status, str(folder) in said, " MB" in said) == (0, True, True), said
    assert convert(lora, bank, "--base", folder, "--to", "bank")[0] == 0
    prepared = prepare_onnx_chat(str(folder), tmp_path / "data", "int8")
    assert prepared.path == folder
    assert not (tmp_path / "data").exists()
    file = tmp_path / "models.yaml"
    (spec,) = of_file(file, b"models: [{id: w, engine: onnx, model: out}]", Settings()).models
    assert spec.settings.model == str(folder)
    backend = OnnxBackend(folder, OnnxOptions(threads=1))
    own = blend([(backend.load_adapter(bank), 1.0)])
    assert np.abs(logits(backend) - reference.every(PROMPT)).max() < EXACT
    assert np.abs(logits(backend, own) - reference.every(PROMPT, "own")).max() < EXACT
    backend.close()


def test_a_merged_folder_says_what_base_and_lora_say(
    models: Path, tmp_path: Path, lora: Path, reference: Reference
) -> None:
    merged = tmp_path / "merged"
    status, said = convert(models / "tiny", merged, "--merge", lora, "--to", "transformers")
    assert status == 0, said
    wanted = reference.every(PROMPT, "own")
    assert np.abs(Reference(merged, {}).every(PROMPT) - wanted).max() < EXACT
    assert np.abs(reference.every(PROMPT) - wanted).max() > 0.1
    kept = {path.name for path in merged.iterdir()}
    assert {"tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "config.json"} <= kept
    assert (
        load_file(merged / "model.safetensors").keys() == load_file(models / "tiny/model.safetensors").keys()
    )
    again = convert(models / "tiny", merged, "--merge", lora, "--to", "transformers")
    assert (again[0], "is there already" in again[1]) == (1, True)


@pytest.mark.parametrize("kind", ["f16", "onnx-fp32"])
def test_engines_serve_merged_models(
    models: Path, tmp_path: Path, lora: Path, reference: Reference, kind: str
) -> None:
    target = tmp_path / "out" / "merged.gguf"
    status, said = convert(models / "tiny", target, "--merge", lora, "--to", kind)
    assert status == 0, said
    backend: Backend
    if kind == "f16":
        backend = LlamaBackend(target, LlamaOptions(threads=1))
    else:
        backend = OnnxBackend(target, OnnxOptions(threads=1))
    wanted = reference.every(PROMPT, "own")
    assert divergence(wanted, logits(backend)) < 0.01 < divergence(wanted, reference.every(PROMPT))
    backend.close()
    assert [path.name for path in target.parent.iterdir()] == ["merged.gguf"]


def test_what_cannot_be_written_is_said_and_leaves_nothing(models: Path, tmp_path: Path, lora: Path) -> None:
    tiny, out = models / "tiny", tmp_path / "out"
    other = make_adapter(tmp_path / "other", 1)
    edit_config(other, base_sha256="0" * 64)
    idle = make_adapter(tmp_path / "idle", 1, size=0)
    refusals: list[tuple[tuple[object, ...], tuple[str, ...]]] = [
        ((tiny, out, "--to", "onnx-int3"), ("onnx-int3", "onnx-int4")),
        ((tiny, out, "--to", "bank"), ("is a model",)),
        ((tiny, out, "--to", "transformers"), ("--merge",)),
        ((tiny, out, "--to", "onnx-int8", "--modelfile"), ("GGUF", "--modelfile")),
        ((lora, out, "--to", "onnx-int8"), ("LoRA", "--to bank", "--merge")),
        ((lora, out, "--to", "bank"), ("--base",)),
        ((lora, out, "--to", "bank", "--base", tiny), ("--to onnx-int8",)),
        ((lora, out, "--base", tiny, "--merge", lora), ("--merge",)),
        ((tiny, out, "--merge", other), ("trained on the base 000000000000",)),
        ((tiny, out, "--merge", idle), ("changes nothing",)),
        ((tiny, out, "--merge", tiny), ("not a PEFT adapter",)),
        ((tmp_path, out), ("no config.json",)),
        ((tmp_path / "nowhere", out), ("no model at",)),
    ]
    for arguments, words in refusals:
        status, said = convert(*arguments)
        assert status == 1, arguments
        assert all(word in said for word in words), said
        assert "Traceback" not in said
    assert {path.name for path in tmp_path.iterdir()} == {"polite", "other", "idle"}


def test_a_place_that_cannot_be_written_is_named(models: Path, tmp_path: Path, lora: Path) -> None:
    file = tmp_path / "file"
    file.write_text("no folder")
    wanted: list[tuple[object, ...]] = [
        ("--to", "f16"),
        ("--to", "onnx-fp32"),
        ("--merge", lora),
        ("--to", "transformers", "--merge", lora),
    ]
    for more in wanted:
        status, said = convert(models / "tiny", file / "out", *more)
        assert (status, "Cannot write" in said) == (1, True), said


def test_the_starter_has_a_name(tmp_path: Path) -> None:
    assert convert("starter", tmp_path / "out", "--to", "onnx-int4")[0] == 0
    backend = OnnxBackend(tmp_path / "out", OnnxOptions(threads=1, running=1))
    assert backend.manifest.precision == "int4"
    backend.close()
