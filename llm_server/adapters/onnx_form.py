"""Adapters for ONNX Runtime: made in a process of their own, loaded and tried here, where the graph is."""

from pathlib import Path

from llm_server.adapters.check_peft import Facts
from llm_server.adapters.maker import Maker
from llm_server.adapters.probe import TEXT, TOKENS, Effect, measure
from llm_server.adapters.source import Source
from llm_server.backends.onnx import OnnxBackend
from llm_server.engine.blend import Resident


class OnnxForm:
    """For one base model."""

    suffix = ".safetensors"

    def __init__(self, backend: OnnxBackend, path: Path, folder: Path | None) -> None:
        """`path`: the folder that is served; `folder`: the transformers folder that it was made from."""
        self._backend = backend
        self._maker = Maker("onnx", path, folder)

    def make(self, source: Source, target: Path) -> Facts:
        """Check and convert."""
        return self._maker.make(source, target)

    def load(self, file: Path) -> Resident:
        """Into the memory."""
        return self._backend.load_adapter(file)

    def probe(self, file: Path, resident: Resident) -> Effect:
        """In a row beside the engine's."""
        tokens = self._backend.vocabulary.tokenize(TEXT)[:TOKENS]
        return measure(self._backend.score(tokens, None), self._backend.score(tokens, resident))

    def close(self) -> None:
        """End the process."""
        self._maker.close()
