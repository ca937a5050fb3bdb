"""What a training may begin with: a model that can do it, a version that goes on it; the rest is refused."""

import json
from pathlib import Path
from typing import Any

import pytest

from rlhf.beginning import begin_with
from rlhf.errors import RegistryError, TrainingError
from rlhf.registry import BASE_KEY, CONFIG, LIVE, Registry, Version, weights_of
from tests.llm_server.adapters.making import make_adapter


def model(folder: Path, architecture: str = "Qwen2ForCausalLM", weights: bytes = b"weights") -> Path:
    """As much of a transformers folder as is looked at."""
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"architectures": [architecture]}))
    (folder / "model.safetensors").write_bytes(weights)
    return folder


def trained(root: Path, base: Path, kind: str = "adapter", name: str = "polite", seed: int = 1) -> Version:
    """A version that knows what it was trained on."""
    folder = make_adapter(root / "made" / f"{name}{seed}", seed)
    config = json.loads((folder / CONFIG).read_text())
    (folder / CONFIG).write_text(json.dumps({**config, BASE_KEY: weights_of(base)}))
    lineage: dict[str, Any] = {"base": {"path": str(base), "sha256": weights_of(base)}, "parent": None}
    return Registry(root).add(name, folder, lineage, [], kind)


def test_nothing_named_is_the_methods_own(tmp_path: Path) -> None:
    begun = begin_with({"method": "dpo"}, "", "", Registry(tmp_path))
    assert begun.plain() == {"base": "", "parent": None}


def test_a_parent_brings_its_base_and_its_content(tmp_path: Path) -> None:
    base = model(tmp_path / "base")
    version = trained(tmp_path, base)
    for ref in (f"polite@{version.short}", f"polite@{version.digest}"):
        begun = begin_with({"method": "dpo"}, "", ref, Registry(tmp_path)).plain()
        parent = {"name": "polite", "digest": version.digest, "path": str(version.folder)}
        assert begun == {"base": str(base), "parent": parent}
    with pytest.raises(RegistryError, match=f"`{LIVE}` is no version of the adapter `polite`; there are: "):
        begin_with({"method": "dpo"}, "", "polite", Registry(tmp_path))
    Registry(tmp_path).promote(version)
    assert begin_with({"method": "kto"}, "", "polite", Registry(tmp_path)).parent == version
    moved = model(tmp_path / "moved")
    assert begin_with({"method": "sft"}, str(moved), "polite", Registry(tmp_path)).base == moved


def test_a_parent_of_another_base_is_refused(tmp_path: Path) -> None:
    base, other = model(tmp_path / "base"), model(tmp_path / "other", weights=b"others")
    version = trained(tmp_path, base)
    with pytest.raises(
        TrainingError, match=r"was trained on other weights than those of .*other: name its own"
    ):
        begin_with({"method": "dpo"}, str(other), f"polite@{version.short}", Registry(tmp_path))
    (base / "config.json").unlink()
    with pytest.raises(TrainingError, match=r"is not here, or has changed: name its base's folder"):
        begin_with({"method": "dpo"}, "", f"polite@{version.short}", Registry(tmp_path))


def test_a_method_goes_on_from_its_own_kind_alone(tmp_path: Path) -> None:
    base = model(tmp_path / "base")
    adapter, judge = trained(tmp_path, base), trained(tmp_path, base, "reward", "judge")
    wrong = [
        ("dpo", "judge", judge, "`reward`; dpo goes on from one of the kind `adapter`"),
        ("reward", "polite", adapter, "`adapter`; reward goes on from one of the kind `reward`"),
        ("embedding", "polite", adapter, "embedding goes on from none: name its folder as the base instead"),
    ]
    for method, name, version, said in wrong:
        with pytest.raises(TrainingError, match=said):
            begin_with({"method": method}, "", f"{name}@{version.short}", Registry(tmp_path))
    begun = begin_with({"method": "reward"}, "", f"judge@{judge.short}", Registry(tmp_path)).plain()
    assert begun["parent"]["path"] == str(judge.folder / "content")
    with pytest.raises(TrainingError, match="changes the base itself"):
        begin_with({"method": "sft", "tuning": "full"}, "", f"polite@{adapter.short}", Registry(tmp_path))


def test_a_base_is_a_model_that_the_method_can_train(tmp_path: Path) -> None:
    encoder = model(tmp_path / "encoder", "BertModel")
    with pytest.raises(TrainingError, match=r"is a BertModel, which does not write; dpo needs one that does"):
        begin_with({"method": "dpo"}, str(encoder), "", Registry(tmp_path))
    assert begin_with({"method": "embedding"}, str(encoder), "", Registry(tmp_path)).base == encoder
    with pytest.raises(TrainingError, match=r"nowhere is no model: it has no config\.json"):
        begin_with({"method": "dpo"}, str(tmp_path / "nowhere"), "", Registry(tmp_path))
