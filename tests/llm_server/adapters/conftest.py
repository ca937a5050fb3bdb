"""A tiny model with an engine and a manager of adapters."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from filelock import FileLock

from llm_server.adapters.llama_form import LlamaForm
from llm_server.adapters.manager import AdapterManager
from llm_server.adapters.selection import Selection, Wanted, wanted_by_name
from llm_server.adapters.versions import Version
from llm_server.backends.llama_cpp import LlamaBackend, LlamaOptions
from llm_server.convert.prepare import prepare_chat
from llm_server.engine.engine import Engine, Limits
from llm_server.settings import STARTER
from tests.llm_server.adapters.making import make_adapter
from tests.llm_server.running import Run, say, start


@dataclass
class Rig:
    """An engine whose adapters can be loaded, and sequences that use them."""

    engine: Engine
    manager: AdapterManager
    folder: Path

    def load(self, name: str, path: Path, activate: bool = False) -> Version:
        """Load and wait."""
        return self.manager.load(name, path, activate=activate)[1].result(300)

    def made(self, name: str, seed: int) -> Version:
        """A random adapter, loaded."""
        return self.load(name, make_adapter(self.folder / f"{name}-{seed}", seed))

    def run(self, text: str, *wanted: str | Wanted, max_tokens: int = 12, logprobs: int | None = None) -> Run:
        """Begin a sequence with adapters."""
        selection = Selection(self.manager, [wanted_by_name(w) if isinstance(w, str) else w for w in wanted])
        selection.ensure()
        return start(self.engine, say(text), max_tokens=max_tokens, selection=selection, logprobs=logprobs)


@pytest.fixture
def make_rig(models: Path, tiny: Callable[[str], Path], tmp_path: Path) -> Iterator[Callable[..., Rig]]:
    """Rigs that share the tiny model's files."""
    open_rigs: list[Rig] = []

    def make(
        running: int = 8,
        budget: int | None = None,
        data: str = "data",
        base: tuple[Path, Path | None] | None = None,
    ) -> Rig:
        path, origin = base or (tiny("f32"), models / "tiny")
        options = LlamaOptions(running=running, threads=1, float32_cache=True, context=512)
        backend = LlamaBackend(path, options)
        engine = Engine(backend, Limits(running=running, step_tokens=128))
        engine.start()
        form = LlamaForm(backend, path, origin)
        rig = Rig(engine, AdapterManager(engine, form, tmp_path / data, budget), tmp_path)
        open_rigs.append(rig)
        return rig

    yield make
    for rig in open_rigs:
        rig.manager.close()
        rig.engine.close()


@pytest.fixture
def rig(make_rig: Callable[..., Rig]) -> Rig:
    """One rig."""
    return make_rig()


@pytest.fixture
def starter_rig(make_rig: Callable[..., Rig], models: Path) -> Rig:
    """The same around the embedded model, which has something to lose."""
    with FileLock(models / "lock"):
        prepared = prepare_chat(STARTER, models, "q8_0")
    return make_rig(base=(prepared.path, prepared.folder))
