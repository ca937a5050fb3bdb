"""Banks of the ONNX engine as a format that adapters are loaded from, by both engines."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from typer.testing import CliRunner

from llm_server.adapters.bank import check_bank
from llm_server.backends.onnx_bank import BASE_KEY
from llm_server.cli import app
from llm_server.errors import AdapterRefused
from tests.llm_server.adapters.making import ALL, Tensors, edit_tensors, make_adapter
from tests.llm_server.config.conftest import edited
from tests.llm_server.config.test_carry import load, text_of
from tests.llm_server.config.test_reload import entry, wait_for
from tests.llm_server.onnx_models import prepared

BASE = "the-base"
MODULE = "model.layers.0.self_attn.q_proj"
FIRST, SECOND = f"{MODULE}.lora_A", f"{MODULE}.lora_B"


def make_bank(models: Path, source: Path, target: Path) -> Path:
    """As the command does."""
    command = ["convert", str(source), str(target), "--base", str(prepared(models, "fp32"))]
    made = CliRunner().invoke(app, command)
    assert made.exit_code == 0, made.output
    return target


def low_values(tensors: Tensors) -> Tensors:
    """The same adapter with ranks of their own for values: two of four."""
    return {
        name: (t[:2] if ".lora_A." in name else t[:, :2]) if "v_proj" in name else t
        for name, t in tensors.items()
    }


def test_a_bank_is_the_adapter_that_it_was_made_from(models: Path, tmp_path: Path) -> None:
    """On both engines, and through a switch of them after the file has gone."""
    peft = make_adapter(tmp_path / "peft", 61, rank_pattern={"v_proj": 2}, targets=ALL)
    edit_tensors(peft, low_values)
    bank = make_bank(models, peft, tmp_path / "bank.safetensors")
    llama, onnx = (entry(models, engine, id="banked") for engine in ("llama_cpp", "onnx"))
    with edited(tmp_path / "models.yaml", models, onnx, adapter_folders=str(tmp_path)) as server:
        load(server, "peft", peft)
        load(server, "bank", bank)
        card = server.http.get("/v1/adapters/bank").json()["versions"][0]
        assert (card["format"], card["rank"], card["alpha"]) == ("bank", 4, 4.0)
        assert set(card["targets"]) == set(ALL)
        bank.unlink()
        said = text_of(server, "peft")
        assert text_of(server, "bank") == said != text_of(server, "banked")
        for edit in (llama, onnx):
            assert server.edit(edit).status_code == 200
            assert [text_of(server, name) for name in ("peft", "bank")] == [said, said]
        for name in ("bank", "peft"):
            server.http.delete(f"/v1/adapters/{name}")
        wait_for(lambda: not list((models / "adapters" / "banked--tiny.sources").glob("*")))


def test_a_bank_of_another_base_is_refused_by_both_engines(models: Path, tmp_path: Path) -> None:
    bank = make_bank(models, make_adapter(tmp_path / "peft", 62), tmp_path / "bank.safetensors")
    save_file(load_file(bank), bank, {BASE_KEY: "0123456789abcdef"})
    for engine in ("onnx", "llama_cpp"):
        with edited(tmp_path / "models.yaml", models, entry(models, engine, id="other")) as server:
            answer = server.http.post("/v1/adapters?wait=true", json={"name": "a", "source": str(bank)})
            error = answer.json()["error"]
            assert (answer.status_code, error["code"]) == (422, "base_mismatch")
            assert "the base 0123456789ab" in error["message"]


def bank_of(path: Path, base: str | None = BASE, change: Callable[[Tensors], Tensors] = dict) -> Path:
    tensors = {FIRST: np.ones((6, 2), np.float32), SECOND: np.ones((2, 4), np.float32)}
    save_file(change(tensors), path, None if base is None else {BASE_KEY: base})
    return path


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda t: {FIRST: t[FIRST]}, "missing_tensors"),
        (lambda t: {SECOND: t[SECOND]}, "missing_tensors"),
        (lambda t: {**t, SECOND: np.ones((3, 4), np.float32)}, "shape_mismatch"),
        (lambda t: {**t, SECOND: np.ones(4, np.float32)}, "shape_mismatch"),
        (lambda t: {**t, "lm_head.weight": t[FIRST]}, "extra_tensors"),
        (lambda t: {**t, FIRST: t[FIRST] * np.nan}, "not_finite"),
        (lambda t: {**t, FIRST: t[FIRST].astype(np.float64)}, "unsupported_dtype"),
        (
            lambda t: {FIRST: np.ones((6, 600), np.float32), SECOND: np.ones((600, 4), np.float32)},
            "rank_unsupported",
        ),
        (lambda t: {}, "missing_tensors"),
    ],
)
def test_broken_banks_are_refused(tmp_path: Path, change: Callable[[Tensors], Tensors], code: str) -> None:
    with pytest.raises(AdapterRefused) as refused:
        check_bank(bank_of(tmp_path / "b.safetensors", change=change), BASE)
    assert refused.value.code == code


def test_banks_name_their_base(tmp_path: Path) -> None:
    bank = bank_of(tmp_path / "b.safetensors")
    assert check_bank(bank, None).targets == check_bank(bank, BASE).targets == ("q_proj",)
    for base, code in ((None, "unknown_format"), ("another", "base_mismatch")):
        with pytest.raises(AdapterRefused) as refused:
            check_bank(bank_of(bank, base), BASE)
        assert refused.value.code == code
    bank.write_bytes(bank.read_bytes()[:-3])
    with pytest.raises(AdapterRefused) as refused:
        check_bank(bank, "another")
    assert refused.value.code == "truncated"


def test_the_command_says_what_a_bank_needs(models: Path, tmp_path: Path) -> None:
    peft = make_adapter(tmp_path / "peft", 63)
    target = tmp_path / "bank.safetensors"
    missing = CliRunner().invoke(app, ["convert", str(peft), str(target)])
    assert (missing.exit_code, "--base" in missing.output) == (1, True)
    wrong = CliRunner().invoke(app, ["convert", str(peft), str(target), "--base", str(models / "tiny")])
    assert (wrong.exit_code, "no folder for ONNX Runtime" in " ".join(wrong.output.split())) == (1, True)
    assert not target.exists()
    shutil.rmtree(peft)
