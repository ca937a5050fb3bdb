"""Adapters for llama.cpp: made and tried in a process of their own, loaded here."""

from pathlib import Path

from llm_server.adapters.check_peft import Facts
from llm_server.adapters.maker import Maker
from llm_server.adapters.probe import Effect
from llm_server.adapters.source import Source
from llm_server.backends.llama_cpp import LlamaBackend
from llm_server.engine.blend import Resident


class LlamaForm:
    """For one base model."""

    suffix = ".gguf"

    def __init__(self, backend: LlamaBackend, path: Path, folder: Path | None) -> None:
        self._backend = backend
        self._maker = Maker("llama_cpp", path, folder)

    def make(self, source: Source, target: Path) -> Facts:
        """Check, convert or copy, and check what came out: what is loaded is what was read."""
        with self._backend.lending_a_core():
            return self._maker.make(source, target)

    def load(self, file: Path) -> Resident:
        """Into the model's memory."""
        return self._backend.load_adapter(file)

    def probe(self, file: Path, resident: Resident) -> Effect:
        """In the process that made it."""
        with self._backend.lending_a_core():
            return self._maker.probe(file)

    def close(self) -> None:
        """End the process."""
        self._maker.close()
