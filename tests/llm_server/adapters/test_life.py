"""Load, promote, roll back, evict and unload while sequences run; nothing is cut, nothing is half there."""

import asyncio
import random
import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from llm_server.adapters.check_peft import Facts
from llm_server.adapters.form import Form
from llm_server.adapters.manager import AdapterManager
from llm_server.adapters.selection import Selection, Wanted, wanted_by_name
from llm_server.adapters.source import Source
from llm_server.adapters.versions import State
from llm_server.adapters.watch import make_folder, watch
from llm_server.app import create_app
from llm_server.engine.sequence import Failed
from llm_server.errors import AdapterRefused, BadRequest, Conflict, NotFound, PreparationFailed, Unavailable
from llm_server.settings import Settings
from tests.llm_server.adapters.conftest import Rig
from tests.llm_server.adapters.making import make_adapter


def label(rig: Rig, name: str) -> str:
    return Selection(rig.manager, [wanted_by_name(name)]).label


def test_the_same_content_is_loaded_once(rig: Rig) -> None:
    first = rig.made("a", 1)
    assert rig.made("a", 1) is first
    assert len(rig.manager.store.adapter("a").versions) == 1


def test_promotion_and_rollback_move_the_name(rig: Rig) -> None:
    old, new = rig.made("a", 1), rig.made("a", 2)
    assert label(rig, "a").endswith(old.short)
    rig.manager.store.promote("a", new.id[:16], "canary", None)
    assert label(rig, "a@canary").endswith(new.short)
    rig.manager.store.promote("a", "canary", "stable", old.id)
    assert label(rig, "a").endswith(new.short)
    assert label(rig, "a@previous").endswith(old.short)
    rig.manager.store.rollback("a")
    assert label(rig, "a").endswith(old.short)


def test_promotion_finds_out_that_somebody_was_faster(rig: Rig) -> None:
    old, new = rig.made("a", 1), rig.made("a", 2)
    rig.manager.store.promote("a", new.id, "stable", old.id)
    with pytest.raises(Conflict):
        rig.manager.store.promote("a", old.id, "stable", old.id)


def test_a_running_sequence_ends_on_its_own_version(rig: Rig) -> None:
    old, new = rig.made("a", 1), rig.made("a", 2)
    expected = rig.run("hello", f"a@{old.id}", max_tokens=40).wait().text
    run = rig.run("hello", "a", max_tokens=40)
    rig.manager.store.promote("a", new.id, "stable", None)
    rig.manager.unload("a", old.id)
    assert run.wait().text == expected
    assert rig.run("hello", "a", max_tokens=40).wait().text != expected
    assert rig.manager.store.wait_unused(old, 10)


def test_unloading_waits_for_the_last_sequence(rig: Rig) -> None:
    version = rig.made("a", 1)
    run = rig.run("hello", "a", max_tokens=200)
    rig.manager.unload("a")
    assert version.state is State.DRAINING
    with pytest.raises(NotFound):
        rig.run("hello", "a")
    assert run.wait().reason in ("length", "stop")
    wait_for(lambda: version.resident is None)
    assert rig.manager.store.adapters() == []


def test_a_forced_unload_ends_what_still_runs(rig: Rig) -> None:
    version = rig.made("a", 1)
    run = rig.run("hello", "a", max_tokens=450)
    rig.manager.unload("a", drain_seconds=0, force=True)
    run.wait()
    assert isinstance(run.end, Failed)
    assert run.end.error.code == "adapter_unloaded"
    wait_for(lambda: version.resident is None)
    assert rig.run("and the base?").wait().reason in ("length", "stop")


def test_the_least_recently_used_is_evicted_and_comes_back(make_rig: Callable[..., Rig]) -> None:
    size = make_rig(data="one").made("a", 1).resident
    assert size is not None
    rig = make_rig(budget=2 * size.bytes + size.bytes // 2, data="two")
    versions = [rig.made(name, seed) for seed, name in enumerate("abc")]
    assert [v.state for v in versions] == [State.EVICTED, State.READY, State.READY]
    said = rig.run("hello", "a").wait().text
    assert [v.state for v in versions] == [State.READY, State.EVICTED, State.READY]
    assert rig.run("hello", "a").wait().text == said


def test_what_is_pinned_stays_and_a_full_memory_says_so(make_rig: Callable[..., Rig]) -> None:
    size = make_rig(data="one").made("a", 1).resident
    assert size is not None
    rig = make_rig(budget=size.bytes + size.bytes // 2, data="two")
    kept = rig.made("a", 1)
    rig.manager.store.change("a", None, True)
    with pytest.raises(Unavailable) as full:
        rig.made("b", 2)
    assert full.value.code == "adapter_memory_full"
    assert kept.state is State.READY


class Waiting:
    """llama.cpp's form, whose next adapter is made when it is told."""

    suffix = ".gguf"

    def __init__(self, form: Form) -> None:
        self._form = form
        self.begun, self.go_on = threading.Event(), threading.Event()
        self.load, self.probe, self.close = form.load, form.probe, form.close

    def make(self, source: Source, target: Path) -> Facts:
        self.begun.set()
        assert self.go_on.wait(60)
        return self._form.make(source, target)


def test_an_evicted_adapter_comes_back_while_a_new_one_is_made(make_rig: Callable[..., Rig]) -> None:
    """The first PEFT folder takes seconds; who uses what was loaded long ago does not wait for it."""
    rig = make_rig(data="one")
    size = rig.made("a", 1).resident
    assert size is not None
    form = Waiting(rig.manager._form)
    waiting = Rig(
        rig.engine,
        AdapterManager(rig.engine, form, rig.folder / "two", size.bytes + size.bytes // 2),
        rig.folder,
    )
    form.go_on.set()
    evicted, resident = waiting.made("a", 1), waiting.made("b", 2)
    assert (evicted.state, resident.state) == (State.EVICTED, State.READY)
    form.go_on.clear()
    form.begun.clear()
    new, future = waiting.manager.load("c", make_adapter(rig.folder / "c-3", 3))
    assert form.begun.wait(60)
    assert waiting.run("hello", "a").wait().reason in ("length", "stop")
    assert (evicted.state, resident.state, new.state) == (State.READY, State.EVICTED, State.LOADING)
    form.go_on.set()
    assert future.result(60).state is State.READY
    # Both are within the budget of one.
    assert evicted.state is State.EVICTED
    waiting.manager.close()


def test_a_restart_knows_names_versions_and_aliases(make_rig: Callable[..., Rig]) -> None:
    rig = make_rig()
    old, new = rig.made("a", 1), rig.made("a", 2)
    rig.manager.store.promote("a", new.id, "stable", None)
    rig.manager.store.change("a", 0.5, None)
    said = rig.run("hello", "a").wait().text
    again = make_rig()
    assert again.run("hello", "a").wait().text == said
    assert label(again, "a@previous").startswith(f"a@{old.short}")


def test_names_that_mean_nothing(rig: Rig) -> None:
    rig.made("a", 1)
    for name in ("b", "a@canary", "a@sha256:ffff", "a@12"):
        with pytest.raises(NotFound):
            label(rig, name)
    with pytest.raises(BadRequest):
        Selection(rig.manager, [Wanted("a")] * 5)
    with pytest.raises(BadRequest):
        Selection(rig.manager, [Wanted("a", scale=99)])
    with pytest.raises(Conflict):
        rig.manager.store.rollback("a")


def test_loads_promotions_and_unloads_under_load_lose_nothing(rig: Rig) -> None:
    """Eight streams at a time, while versions come and go under the same names."""
    rng = random.Random(3)
    for name in ("a", "b"):
        rig.made(name, 1)
    stop, lost = threading.Event(), []

    def stream(number: int) -> None:
        mine = random.Random(number)
        while not stop.is_set():
            name = mine.choice(["a", "b", ""])
            run = rig.run(f"stream {number}", *filter(None, [name]), max_tokens=mine.randint(1, 20)).wait()
            if isinstance(run.end, Failed):
                lost.append(run.end.error)

    threads = [threading.Thread(target=stream, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    folders = [make_adapter(rig.folder / f"v{n}", n, rank=2, targets=("q_proj",)) for n in range(4)]
    for _ in range(25):
        name = rng.choice("ab")
        before = rig.manager.store.find(name)
        version = rig.load(name, rng.choice(folders), activate=True)
        if before is not version and before.state is State.READY:
            rig.manager.unload(name, before.id)
    stop.set()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    assert lost == []
    assert all(v.inflight == 0 for a in rig.manager.store.adapters() for v in a.versions.values())


async def test_a_watched_folder_is_followed(rig: Rig) -> None:
    folder = rig.folder / "watched"
    make_adapter(folder / "early", 1)
    stop = asyncio.Event()
    watching = asyncio.ensure_future(watch(folder, lambda: rig.manager, stop))
    await eventually(lambda: rig.manager.store.names() == ["early"])
    make_adapter(rig.folder / "beside", 2).rename(folder / "late")
    await eventually(lambda: rig.manager.store.names() == ["early", "late"])
    (folder / "early").rename(rig.folder / "gone")
    await eventually(lambda: rig.manager.store.names() == ["late"])
    stop.set()
    await watching


async def test_an_unreadable_entry_stops_neither_the_folder_nor_its_watcher(rig: Rig) -> None:
    """What cannot be looked at, and what cannot be read: reading the memory at 0 is an error for anybody."""
    folder = rig.folder / "watched"
    folder.mkdir()
    (folder / "astray").symlink_to("x" * 300)
    (folder / ".hidden").symlink_to("x" * 300)
    (folder / "memory.gguf").symlink_to("/proc/self/mem")
    make_adapter(folder / "zoe", 1)
    stop = asyncio.Event()
    watching = asyncio.ensure_future(watch(folder, lambda: rig.manager, stop))
    await eventually(lambda: rig.manager.store.names() == ["zoe"])
    assert not watching.done()
    stop.set()
    await watching
    with pytest.raises(AdapterRefused, match="cannot be read") as refused:
        rig.manager.load("memory", folder / "memory.gguf")
    assert refused.value.code == "unreadable"


async def test_a_watched_folder_may_be_gone_for_a_while(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    """What it held is served on; another folder in its place is followed."""
    folder = rig.folder / "watched"
    stop = asyncio.Event()
    watching = asyncio.ensure_future(watch(folder, lambda: rig.manager, stop))
    await eventually(lambda: "LLM_ADAPTERS is gone" in caplog.text)
    make_adapter(folder / "first", 1)
    await eventually(lambda: rig.manager.store.names() == ["first"])
    caplog.clear()
    shutil.rmtree(folder)
    await eventually(lambda: "LLM_ADAPTERS is gone" in caplog.text)
    assert rig.manager.store.names() == ["first"]
    folder.mkdir()
    make_adapter(rig.folder / "beside", 2).rename(folder / "second")
    await eventually(lambda: rig.manager.store.names() == ["second"])
    assert not watching.done()
    stop.set()
    await asyncio.wait_for(watching, 10)
    assert caplog.text.count("LLM_ADAPTERS is gone") == 1


def test_a_place_that_cannot_be_watched_is_refused_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for place in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(PreparationFailed, match=r"LLM_ADAPTERS is .*Name a folder"):
            create_app(Settings(backend="echo", data=tmp_path / "data", adapters=place))
    make_folder(tmp_path / "new" / "folder")
    assert (tmp_path / "new" / "folder").is_dir()


async def test_events_tell_what_happens(rig: Rig) -> None:
    seen = []

    async def listen() -> None:
        async for event in rig.manager.events.listen():
            seen.append((event["event"], event["adapter"]))

    listening = asyncio.ensure_future(listen())
    await asyncio.to_thread(rig.made, "a", 1)
    await asyncio.to_thread(rig.made, "a", 2)
    rig.manager.store.promote("a", rig.made("a", 2).id, "stable", None)
    rig.manager.unload("a")
    await eventually(lambda: ("unloaded", "a") in seen)
    kinds = [kind for kind, _ in seen]
    assert kinds[:5] == ["loading", "ready", "loading", "ready", "promoted"]
    listening.cancel()


def wait_for(condition: Callable[[], bool]) -> None:
    asyncio.run(eventually(condition))


async def eventually(condition: Callable[[], bool]) -> None:
    """At most two minutes."""
    for _ in range(2400):
        if condition():
            return
        await asyncio.sleep(0.05)
    assert condition()
