"""What a model computes before it is served."""

import threading
from typing import Any

import pytest

from llm_server.backends.echo import EchoBackend
from llm_server.engine.engine import Engine
from llm_server.errors import EngineFailure


class Noting(EchoBackend):
    """Remembers who computed how many tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.steps: list[tuple[str, int]] = []

    def decode(self, chunks: Any) -> list[int]:
        """Note it."""
        self.steps += [(threading.current_thread().name, len(chunk.tokens)) for chunk in chunks]
        return super().decode(chunks)


def test_a_model_has_computed_before_it_is_ready() -> None:
    backend = Noting()
    engine = Engine(backend)
    engine.start(list(b"Hello"))
    assert backend.steps == [("engine", 5), ("engine", 1), ("engine", 1), ("engine", 1)]
    assert not any(backend._held.values())
    engine.close()


class Broken(EchoBackend):
    """Computes nothing."""

    def decode(self, chunks: Any) -> list[int]:
        """EngineFailure."""
        raise EngineFailure("The device is gone.")


def test_a_model_that_cannot_compute_is_not_ready() -> None:
    engine = Engine(Broken())
    with pytest.raises(EngineFailure, match="device is gone"):
        engine.start(list(b"Hello"))
    engine.close()
