"""Making adapters for ONNX Runtime: PEFT folders as one safetensors file in the graph's names."""

from pathlib import Path

from llm_server.adapters.base import Base, vocabulary_hash
from llm_server.adapters.check_peft import Facts, check_peft
from llm_server.adapters.source import Source
from llm_server.backends.onnx_manifest import read_manifest
from llm_server.convert.files import file_sha256
from llm_server.convert.onnx_adapter import convert_adapter
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
            weights = frozenset(file_sha256(file) for file in files)
            words = vocabulary_hash(folder) if folder else ""
            self._base = Base(manifest.architecture, {}, manifest.layers, folder, weights, words)
        return self._base

    def make(self, source: Source, target: Path) -> Facts:
        """Check and convert."""
        if source.kind == "gguf":
            raise AdapterRefused(
                f"{source.path.name} is for llama.cpp. Give the PEFT folder that it was made from.",
                code="not_convertible",
            )
        facts = check_peft(source.path, self.base)
        convert_adapter(source.path, self._manifest, target)
        return facts

    def close(self) -> None:
        """Nothing is held."""
