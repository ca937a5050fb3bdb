"""Looking up adapters while a change is being written to a disk that takes its time."""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from llm_server.adapters.check_peft import Facts
from llm_server.adapters.events import Events
from llm_server.adapters.probe import Effect
from llm_server.adapters.source import Source
from llm_server.adapters.store import AdapterStore
from llm_server.adapters.versions import STABLE, Version
from llm_server.engine.blend import Resident
from llm_server.errors import PreparationFailed

PATIENCE = 60


def loaded(store: AdapterStore, folder: Path, digit: str) -> Version:
    """A version under the name `a`."""
    version, _ = store.begin("a", Source("gguf", folder / digit, f"sha256:{digit * 64}", 1))
    file = folder / f"{digit}.gguf"
    file.touch()
    facts, effect = Facts(1, 1.0, (), 2), Effect(1.0, 1.0)
    store.publish(version, file, facts, effect, Resident(digit.encode(), digit, 1))
    return version


@contextmanager
def being_written(
    store: AdapterStore, file: Path, change: Callable[[], object]
) -> Iterator["Future[object]"]:
    """A change that stays in the middle of its write in here, and fails afterwards: what it writes to is a
    pipe, which waits for a reader and cannot be flushed to a disk.
    """
    pipe = file.with_name(f".{file.name}.{os.getpid()}.part")
    os.mkfifo(pipe)
    with ThreadPoolExecutor(1) as worker:
        changing = worker.submit(change)
        while store._writing.acquire(blocking=False):
            store._writing.release()
            assert not changing.done()
        try:
            yield changing
        finally:
            both = os.open(pipe, os.O_RDWR)
            changing.exception(PATIENCE)
            os.close(both)


def test_nobody_waits_for_a_file_that_is_written(tmp_path: Path) -> None:
    file = tmp_path / "adapters.json"
    store = AdapterStore(file, Events())
    first, second = loaded(store, tmp_path, "1"), loaded(store, tmp_path, "2")

    def promote() -> Version:
        return store.promote("a", second.id, STABLE, None)

    with being_written(store, file, promote) as changing, ThreadPoolExecutor(1) as asking:
        assert asking.submit(store.names).result(PATIENCE) == ["a"]
        assert asking.submit(store.find, "a").result(PATIENCE) is first
        assert asking.submit(store.hold, [first]).result(PATIENCE) == [first.resident]
        assert len(asking.submit(store.adapters).result(PATIENCE)) == 1
        assert not changing.done()
    with pytest.raises(PreparationFailed):
        changing.result()
    assert store.find("a") is first
    # The use that was counted meanwhile is still counted.
    assert first.inflight == 1
    promote()
    assert store.find("a") is second
    again = AdapterStore(file, Events())
    assert again.find("a").id == second.id
