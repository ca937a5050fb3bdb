"""The seam between adapters and engines: how one kind of engine makes, checks and tries an adapter."""

from pathlib import Path
from typing import Protocol

from llm_server.adapters.check_peft import Facts
from llm_server.adapters.probe import Effect
from llm_server.adapters.source import Source
from llm_server.engine.blend import Resident


class Form(Protocol):
    """Never called by the engine's thread. One thread at a time makes and tries, one at a time loads."""

    @property
    def suffix(self) -> str:
        """Of files in the engine's own format, with the dot."""
        ...

    def make(self, source: Source, target: Path) -> Facts:
        """Check an adapter and write it in the engine's own format. AdapterRefused with the reason."""
        ...

    def load(self, file: Path) -> Resident:
        """Into the memory. AdapterRefused."""
        ...

    def probe(self, file: Path, resident: Resident) -> Effect:
        """Compare what the model says with it and without. AdapterRefused."""
        ...

    def close(self) -> None:
        """Free what probing and converting hold."""
        ...
