"""Adapters for ONNX Runtime: PEFT folders as one safetensors file in the graph's names."""

from pathlib import Path

from llm_server.adapters.base import Base, vocabulary_hash
from llm_server.adapters.check_peft import Facts, check_peft
from llm_server.adapters.probe import TEXT, TOKENS, Effect, measure
from llm_server.adapters.source import Source
from llm_server.backends.onnx import OnnxBackend
from llm_server.convert.files import file_sha256
from llm_server.convert.onnx_adapter import convert_adapter
from llm_server.engine.blend import Resident
from llm_server.errors import AdapterRefused


class OnnxForm:
    """For one base model."""

    suffix = ".safetensors"

    def __init__(self, backend: OnnxBackend, folder: Path | None) -> None:
        """`folder`: the transformers folder that the model was made from."""
        self._backend, self._folder = backend, folder
        self._base: Base | None = None

    @property
    def base(self) -> Base:
        """Read at the first adapter: hashing the weights takes a while."""
        if self._base is None:
            manifest, folder = self._backend.manifest, self._folder
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
        convert_adapter(source.path, self._backend.manifest, target)
        return facts

    def load(self, file: Path) -> Resident:
        """Into the memory."""
        return self._backend.load_adapter(file)

    def probe(self, resident: Resident) -> Effect:
        """In a row beside the engine's."""
        tokens = self._backend.vocabulary.tokenize(TEXT)[:TOKENS]
        return measure(self._backend.score(tokens, None), self._backend.score(tokens, resident))

    def close(self) -> None:
        """Nothing is held."""
