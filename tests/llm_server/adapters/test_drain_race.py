"""An adapter that is loaded again while its unloaded version drains keeps its file."""

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from llm_server.adapters.llama_form import LlamaForm
from llm_server.adapters.manager import AdapterManager
from llm_server.adapters.probe import Effect
from llm_server.backends.llama_cpp import LlamaBackend, LlamaOptions
from llm_server.engine.blend import Resident
from llm_server.engine.engine import Engine, Limits
from tests.llm_server.adapters.conftest import Rig
from tests.llm_server.adapters.making import make_adapter
from tests.llm_server.adapters.test_life import wait_for


class Slow(LlamaForm):
    """Probes when it is told."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.probing, self.go = threading.Event(), threading.Event()
        self.go.set()

    def probe(self, file: Path, resident: Resident) -> Effect:
        """The load has its file and is not published yet."""
        self.probing.set()
        assert self.go.wait(300)
        return super().probe(file, resident)


def test_what_is_loaded_again_while_it_drains_keeps_its_file(
    models: Path, tiny: Callable[[str], Path], tmp_path: Path
) -> None:
    path = tiny("f32")
    backend = LlamaBackend(path, LlamaOptions(running=2, threads=1, float32_cache=True, context=512))
    engine = Engine(backend, Limits(running=2))
    engine.start()
    form = Slow(backend, path, models / "tiny")
    rig = Rig(engine, AdapterManager(engine, form, tmp_path / "data"), tmp_path)
    folder = make_adapter(tmp_path / "a", 1)
    old = rig.load("a", folder)
    assert rig.manager.store.hold([old])
    rig.manager.unload("a")
    form.probing.clear()
    form.go.clear()
    future = rig.manager.load("a", folder)[1]
    assert form.probing.wait(300)
    rig.manager.store.release([old])
    wait_for(lambda: old.resident is None)
    time.sleep(0.2)
    form.go.set()
    new = future.result(300)
    assert new is not old
    try:
        assert new.file is not None
        assert new.file.is_file()
    finally:
        rig.manager.close()
        rig.engine.close()
