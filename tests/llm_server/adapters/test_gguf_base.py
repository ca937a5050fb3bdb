"""PEFT adapters for a base model that is a .gguf file."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from gguf import GGUFWriter

from llm_server.adapters.base_config import check_folder, told_config
from llm_server.config.base_folder import check_base_folder
from llm_server.errors import AdapterRefused, PreparationFailed
from llm_server.settings import Settings
from tests.llm_server.adapters.conftest import Rig
from tests.llm_server.adapters.making import make_adapter
from tests.llm_server.config.conftest import edited
from tests.llm_server.config.test_carry import load, text_of


def test_the_file_alone_is_enough(make_rig: Callable[..., Rig], tiny: Callable[[str], Path]) -> None:
    """What it says is what it says with the transformers folder."""
    with_folder, alone = make_rig(data="one"), make_rig(data="two", base=(tiny("f32"), None))
    said = []
    for rig in (with_folder, alone):
        rig.made("a", 51)
        said.append(rig.run("hello", "a", max_tokens=20).wait().text)
    assert said[0] == said[1] != alone.run("hello", max_tokens=20).wait().text


def header(path: Path, architecture: str, **numbers: int) -> Path:
    writer = GGUFWriter(path, architecture)
    for key, value in numbers.items():
        writer.add_uint32(f"{architecture}.{key.replace('__', '.')}", value)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@pytest.mark.parametrize(
    ("architecture", "numbers"),
    [("falcon", {"attention__head_count": 4}), ("llama", {"attention__head_count": 4, "expert_count": 8})],
)
def test_a_file_that_does_not_tell_says_what_helps(
    tmp_path: Path, architecture: str, numbers: dict[str, int]
) -> None:
    """An architecture that is not known, and a mixture of experts."""
    with pytest.raises(AdapterRefused, match="LLM_BASE_FOLDER, or as `base_folder`") as refused:
        told_config(header(tmp_path / "m.gguf", architecture, **numbers))
    assert refused.value.code == "not_convertible"


def test_a_folder_of_another_model_is_refused(tmp_path: Path) -> None:
    """The same width and other heads: nothing else would notice."""
    model = header(tmp_path / "m.gguf", "llama", embedding_length=64, attention__head_count=4)
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"hidden_size": 64, "num_attention_heads": 4}))
    check_folder(model, tmp_path)
    config.write_text(json.dumps({"hidden_size": 64, "num_attention_heads": 8}))
    with pytest.raises(AdapterRefused, match="num_attention_heads is 8 there and 4 in the file") as refused:
        check_folder(model, tmp_path)
    assert refused.value.code == "base_mismatch"
    config.write_text("[]")
    with pytest.raises(AdapterRefused) as refused:
        check_folder(model, tmp_path)
    assert refused.value.code == "bad_config"


def test_the_models_file_names_the_folder(tiny: Callable[[str], Path], models: Path, tmp_path: Path) -> None:
    """By a path that begins beside it; another model's folder is refused when an adapter is loaded."""
    (tmp_path / "right").symlink_to(models / "tiny")
    content = json.loads((models / "tiny" / "config.json").read_text())
    (tmp_path / "wrong").mkdir()
    (tmp_path / "wrong" / "config.json").write_text(json.dumps({**content, "num_attention_heads": 8}))
    adapter = make_adapter(tmp_path / "a", 52)

    def entry(folder: str) -> dict[str, object]:
        one = {"id": "based", "model": str(tiny("f32")), "engine": "llama_cpp", "context": 512}
        return {"models": [{**one, "base_folder": folder}], "embeddings": False}

    with edited(tmp_path / "models.yaml", tmp_path / "data", entry("wrong")) as server:
        answer = server.http.post("/v1/adapters?wait=true", json={"name": "a", "source": str(adapter)})
        assert (answer.status_code, answer.json()["error"]["code"]) == (422, "base_mismatch")
        assert server.edit(entry("right")).json()["loaded"] == ["based"]
        load(server, "a", adapter)
        assert text_of(server, "based:a") != text_of(server, "based")


def test_a_setting_that_cannot_be_meant(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="LLM_BASE_FOLDER would not be used"):
        Settings(config=tmp_path / "models.yaml", base_folder=tmp_path)
    for model, engine in (("starter", "llama_cpp"), (str(header(tmp_path / "m.gguf", "llama")), "onnx")):
        with pytest.raises(PreparationFailed, match=r"is for a \.gguf file on llama_cpp"):
            check_base_folder(tmp_path, model, engine)
    with pytest.raises(PreparationFailed, match=r"has no config\.json"):
        check_base_folder(tmp_path / "gone", str(tmp_path / "m.gguf"), "llama_cpp")
