"""Making adapters for ONNX Runtime: banks, PEFT folders and GGUF LoRAs written in the graph's names."""

import shutil
from pathlib import Path

from llm_server.adapters.bank import check_bank
from llm_server.adapters.base import Base, vocabulary_hash
from llm_server.adapters.check_gguf import check_gguf
from llm_server.adapters.check_peft import Facts, check_peft
from llm_server.adapters.source import Source
from llm_server.backends.onnx_bank import read_adapter
from llm_server.backends.onnx_manifest import read_manifest
from llm_server.convert.digest import weights_sha256
from llm_server.convert.gguf_adapter import ARCHITECTURES, gguf_shapes
from llm_server.convert.onnx_adapter import convert_adapter, convert_gguf_adapter
from llm_server.errors import AdapterRefused


class OnnxMaker:
    """For one base model."""

    def __init__(self, path: Path, folder: Path | None) -> None:
        """`path`: the folder that is served; `folder`: the transformers folder that it was made from."""
        self._manifest, self._folder = read_manifest(path), folder
        self._base: Base | None = None

    @property
    def base(self) -> Base:
        """Read at the first adapter: hashing the weights takes a while."""
        if self._base is None:
            manifest, folder = self._manifest, self._folder
            files = sorted(folder.glob("*.safetensors")) if folder else []
            weights = frozenset(weights_sha256(file) for file in files)
            words = vocabulary_hash(folder) if folder else ""
            architecture = ARCHITECTURES.get(manifest.architecture, manifest.architecture)
            shapes = gguf_shapes(manifest)
            self._base = Base(architecture, shapes, manifest.layers, folder, weights, words)
        return self._base

    def make(self, source: Source, target: Path) -> Facts:
        """Check and convert."""
        if source.kind == "gguf":
            return self._make_of_gguf(source.path, target)
        if source.kind == "bank":
            facts = check_bank(source.path, self._manifest.source)
            read_adapter(source.path, self._manifest)
            shutil.copyfile(source.path, target)
            return facts
        facts = check_peft(source.path, self.base)
        convert_adapter(source.path, self._manifest, target)
        return facts

    def _make_of_gguf(self, path: Path, target: Path) -> Facts:
        if not self.base.shapes:
            raise AdapterRefused(
                f"{path.name} is for llama.cpp, whose names for {self._manifest.architecture} are not known "
                "here. Give the PEFT folder that it was made from.",
                code="not_convertible",
            )
        facts = check_gguf(path, self.base, "the graph")
        convert_gguf_adapter(path, self._manifest, target)
        return facts

    def close(self) -> None:
        """Nothing is held."""
