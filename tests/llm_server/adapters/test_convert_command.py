"""`python -m llm_server convert`: models and adapters to GGUF files."""

from pathlib import Path

from typer.testing import CliRunner

from llm_server.cli import app
from tests.llm_server.adapters.making import make_adapter

run = CliRunner().invoke


def test_a_model_and_an_adapter_become_gguf_files(models: Path, tmp_path: Path) -> None:
    model, lora = tmp_path / "m.gguf", tmp_path / "a.gguf"
    assert run(app, ["convert", str(models / "tiny"), str(model), "--to", "f16"]).exit_code == 0
    folder = make_adapter(tmp_path / "a", 1)
    made = run(app, ["convert", str(folder), str(lora), "--base", str(models / "tiny")])
    assert made.exit_code == 0, made.output
    assert model.read_bytes()[:4] == lora.read_bytes()[:4] == b"GGUF"


def test_what_cannot_be_converted_is_said(models: Path, tmp_path: Path) -> None:
    folder = make_adapter(tmp_path / "a", 1)
    missing = run(app, ["convert", str(folder), str(tmp_path / "a.gguf")])
    assert (missing.exit_code, "--base" in missing.output) == (1, True)
    unknown = run(app, ["convert", str(models / "tiny"), str(tmp_path / "m.gguf"), "--to", "q3"])
    assert (unknown.exit_code, "q3" in unknown.output) == (1, True)
    empty = run(app, ["convert", str(tmp_path), str(tmp_path / "m.gguf")])
    assert (empty.exit_code, "config.json" in empty.output) == (1, True)
    assert not list(tmp_path.glob("*.gguf*"))
