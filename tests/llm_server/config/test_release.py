"""Engines that were replaced leave nothing behind."""

import gc
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.llm_server.config.conftest import Edited, Open
from tests.llm_server.config.test_reload import entry, model_of, wait_for
from tests.llm_server.onnx_models import prepared

ENGINES = ("llama_cpp", "onnx")
SWITCHES = 8


@pytest.fixture
def no_collector() -> Iterator[None]:
    """What goes without the garbage collector goes at once; circles would stay."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def switched(server: Edited, content: dict[str, Any]) -> None:
    """Use the model, serve the other engine, and wait until the one before is closed."""
    for _ in range(3):
        assert server.say("tiny", max_tokens=20).status_code == 200
    assert server.edit(content).status_code == 200
    wait_for(lambda: server.config()["draining"] == 0)


def test_engines_that_were_replaced_are_gone(open_server: Open, models: Path, no_collector: None) -> None:
    prepared(models, "fp32")
    seen: list[weakref.ref[Any]] = []
    with open_server(entry(models, "llama_cpp"), models) as server:
        for number in range(1, SWITCHES + 1):
            model = model_of(server, "tiny")
            seen.extend(map(weakref.ref, (model.engine, model.engine.backend, model.adapters)))
            del model
            switched(server, entry(models, ENGINES[number % 2]))
            wait_for(lambda: not any(ref() for ref in seen))
