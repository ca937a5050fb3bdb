"""Loading, promoting and unloading, while the engine streams.

A load has two phases. Off the engine's thread: read, hash, check, convert, load into the memory, try. Then
one step under the store's lock: publish. A failed load was never visible. Unloading is the same backwards:
nobody new gets the version, those that run go on, and when the last one is through (or the deadline has
passed and they have been cancelled) the engine's thread frees it between two steps.
"""

import logging
import threading
import time
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from llm_server.adapters.events import Events
from llm_server.adapters.form import Form
from llm_server.adapters.source import Source, read_source
from llm_server.adapters.sources import Sources
from llm_server.adapters.store import AdapterStore
from llm_server.adapters.store_file import KEPT
from llm_server.adapters.versions import STABLE, Adapter, State, Version
from llm_server.convert.files import discard_parts, publish
from llm_server.engine.blend import BASE, Blend, Resident, blend
from llm_server.engine.engine import Engine
from llm_server.errors import AdapterRefused, Conflict, LlmServerError, Unavailable

log = logging.getLogger(__name__)
Part = tuple[Version, float]
"""A version and its scale."""
DRAIN_SECONDS = 30.0


class AdapterManager:
    """The adapters of one model."""

    def __init__(
        self, engine: Engine, form: Form, folder: Path, budget: int | None = None, sources: Path | None = None
    ) -> None:
        """`folder` keeps the adapters in the engine's format, `sources` what they were made from, for engines
        that come after; `budget`: bytes in the memory, None for all.
        """
        self._engine, self._form, self._folder, self._budget = engine, form, folder, budget
        folder.mkdir(parents=True, exist_ok=True)
        discard_parts(folder)
        self.store = AdapterStore(folder / "adapters.json", Events())
        self._sources = Sources(sources or folder / "sources")
        self._successor: AdapterManager | None = None
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="adapters")
        self._returns = ThreadPoolExecutor(1, thread_name_prefix="adapters-back")
        """For those that come back into the memory: somebody waits, and making a new one may take seconds."""
        self._memory = threading.Lock()
        """One file at a time is read into the memory."""
        self._coming: dict[Path, int] = {}
        """Files of adapters that are there and not published yet, with their bytes."""
        self._leaving: list[threading.Thread] = []
        self.load_seconds = 0.0
        """Spent loading so far."""
        self.swaps, self.swap_seconds = 0, 0.0
        """Evicted versions that came back into the memory for a request, and how long requests waited."""

    # Loading

    def load(
        self,
        name: str,
        path: Path,
        sha256: str | None = None,
        activate: bool = False,
        alias: str = STABLE,
    ) -> "tuple[Version, Future[Version]]":
        """Begin to load; the future ends when the version is ready, or with AdapterRefused.

        The hash is read before this returns, so it takes a moment: call it in a thread. `activate` lets
        `alias` mean it as soon as it is ready; the first version of a name always is `stable`.
        """
        return self._begin(name, read_source(path, sha256), activate, alias)

    def _begin(
        self, name: str, source: Source, activate: bool = False, alias: str = STABLE, origin: str = ""
    ) -> "tuple[Version, Future[Version]]":
        version, fresh = self.store.begin(name, source, origin)
        if not fresh:
            return version, self._worker.submit(self._known, version, source, activate, alias)

        def work() -> Version:
            began = time.monotonic()
            try:
                self._load(version, source)
            except LlmServerError as error:
                self.store.fail(version, error.body()["error"])
                raise
            except Exception as error:
                log.exception("an adapter could not be loaded", extra={"adapter": name})
                refused = AdapterRefused(f"The adapter could not be loaded: {error}", code="load_failed")
                self.store.fail(version, refused.body()["error"])
                raise refused from error
            finally:
                self.load_seconds += time.monotonic() - began
            return self._activated(version, activate, alias)

        return version, self._worker.submit(work)

    def _known(self, version: Version, source: Source, activate: bool, alias: str) -> Version:
        """The same content again: it is loaded already, by an earlier task of the same worker."""
        if version.state not in KEPT:
            raise AdapterRefused("The same adapter has just been refused.", code="adapter_refused")
        self._keep_source(version, source)
        return self._activated(version, activate, alias)

    def _activated(self, version: Version, activate: bool, alias: str) -> Version:
        if activate:
            self.store.promote(version.name, version.id, alias, None)
        return version

    def _load(self, version: Version, source: Source) -> None:
        file = self._folder / f"{version.id.removeprefix('sha256:')}{self._form.suffix}"
        facts = []
        publish(file, lambda part: facts.append(self._form.make(source, part)))
        try:
            with self._resident(file) as resident:
                effect = self._form.probe(file, resident)
                self.store.publish(version, file, facts[0], effect, resident)
        except BaseException:
            self.store.drop_file(version, file)
            raise
        self._keep_source(version, source)

    def _keep_source(self, version: Version, source: Source) -> None:
        self._sources.keep(source)
        self._drop_source(version)

    def _drop_source(self, version: Version) -> None:
        """Where no version of this content is left: it may have been unloaded while its source was copied."""
        if not self._last.store.needs(version.id):
            self._sources.drop(version.id)

    def ensure(self, versions: Sequence[Version]) -> None:
        """Load what was evicted, or is on disk from an earlier run. Waits; call it in a thread."""
        for version in versions:
            if version.state is State.EVICTED:
                self._returns.submit(self._reload, version).result()

    def _reload(self, version: Version) -> None:
        if version.state is not State.EVICTED or version.file is None:
            return
        began = time.monotonic()
        with self._resident(version.file) as resident:
            self.store.publish(version, version.file, None, None, resident)
        self.swaps += 1
        self.swap_seconds += time.monotonic() - began

    @contextmanager
    def _resident(self, file: Path) -> Iterator[Resident]:
        """In the memory, within the budget; freed again where it is not published."""
        size = file.stat().st_size
        with self._memory:
            self._make_room(size)
            resident = self._form.load(file)
            self._coming[file] = size
        try:
            yield resident
        except BaseException:
            self._free(resident)
            raise
        finally:
            with self._memory:
                self._coming.pop(file, None)

    def _make_room(self, size: int) -> None:
        """Evict the least recently used that nobody uses and nobody pinned."""
        if self._budget is None:
            return
        adapters = self.store.adapters()
        held = [(v, a.pinned) for a in adapters for v in a.versions.values() if v.resident is not None]
        used = sum(v.resident.bytes for v, _ in held if v.resident is not None)
        published = {v.file for v, _ in held}
        used += sum(size for file, size in self._coming.items() if file not in published)
        for version, pinned in sorted(held, key=lambda pair: pair[0].last_used):
            if used + size <= self._budget:
                return
            resident = None if pinned else self.store.evict(version)
            if resident is not None:
                used -= resident.bytes
                self._free(resident)
        if used + size > self._budget:
            raise Unavailable(
                f"The adapters that are in use take {used:,} of {self._budget:,} bytes: {size:,} more do not "
                "fit. Set LLM_ADAPTER_MB higher, or unload some.",
                code="adapter_memory_full",
            )

    def _free(self, resident: Resident) -> None:
        self._engine.between_steps(lambda: self._engine.backend.free_adapter(resident))

    # Use

    def lend(self, parts: Sequence[Part]) -> Blend | None:
        """Count one use of each version and blend them; None where one has just left the memory."""
        versions = [version for version, _ in parts]
        residents = self.store.hold(versions)
        if residents is None:
            return None
        return blend(zip(residents, (scale for _, scale in parts), strict=True)) if parts else BASE

    # Leaving

    def unload(
        self, name: str, ref: str = "", drain_seconds: float = DRAIN_SECONDS, force: bool = False
    ) -> list[Version]:
        """Nobody new gets it; it is freed when the last sequence is through. Returns what is leaving.

        After the deadline a forced unload cancels what still runs, another one waits on.
        """
        leaving = self.store.retire(name, ref)
        for version in leaving:
            thread = threading.Thread(
                target=self._drain,
                args=(version, drain_seconds, force),
                name=f"drain-{version.short}",
                daemon=True,
            )
            self._leaving.append(thread)
            thread.start()
        self._leaving = [thread for thread in self._leaving if thread.is_alive()]
        return leaving

    def _drain(self, version: Version, seconds: float, force: bool) -> None:
        began = time.monotonic()
        if not self.store.wait_unused(version, seconds):
            log.warning("an adapter is still in use", extra={"adapter": version.name, "force": force})
            if force and version.resident is not None:
                self._engine.cancel_using(
                    version.resident,
                    Conflict(f"The adapter {version.name} was unloaded.", code="adapter_unloaded"),
                )
        resident = self.store.forget(version)
        if resident is not None:
            self._free(resident)
        if version.file is not None:
            self._last.store.drop_file(version, version.file)
        self._drop_source(version)
        log.info("unloaded", extra={"adapter": version.name, "seconds": round(time.monotonic() - began, 3)})

    # Succession

    def make_missing(
        self, before: "AdapterManager", settled: Collection[str], dropped: Collection[str]
    ) -> None:
        """Before taking over from a manager that keeps its adapters in another format: make them anew, from
        the copies of their sources. AdapterRefused (adapters_lost) where one cannot be, unless `settled` has
        another version of that name.
        """
        lost = self._make_all(before, before.store.adapters(), dropped)
        reasons = [f"{v.name}@{v.short}: {why}" for v, why in lost if v.name not in settled]
        if reasons:
            raise AdapterRefused(
                f"With this engine these adapters would be lost. {' '.join(reasons)} Unload them first "
                "(DELETE /v1/adapters/NAME@VERSION), or load them again from what fits both engines.",
                code="adapters_lost",
            )

    def _make_all(
        self, before: "AdapterManager", adapters: Sequence[Adapter], dropped: Collection[str]
    ) -> list[tuple[Version, str]]:
        """Returns those that cannot be made, with the reason."""
        lost: list[tuple[Version, str]] = []
        if before._folder == self._folder:
            return lost
        named = [adapter for adapter in adapters if adapter.name not in dropped]
        for version in [v for a in named for v in a.versions.values() if v.state in KEPT]:
            path = before._sources.find(version.id) or Path(version.source)
            try:
                source = read_source(path, version.id)
                self._begin(version.name, source, origin=version.source)[1].result()
            except LlmServerError as error:
                log.warning("%s is not carried over: %s", version.name, error.message)
                lost.append((version, error.message))
        return lost

    def take_over(
        self, before: "AdapterManager", settled: Collection[str], dropped: Collection[str], *, same: bool
    ) -> None:
        """Go on where another manager stops: whoever listens to it hears of this one. If it is of the `same`
        base its adapters come too, without those that are `dropped`; what `settled` names mean is known here.
        """
        # Loads that it has begun end first.
        for begun in (before._worker, before._returns):
            begun.submit(lambda: None).result()
        before._unload_all(dropped)
        adapters = [adapter for adapter in before.store.finish() if adapter.name not in dropped]
        if same:
            # Those that were loaded since `make_missing`.
            self._make_all(before, adapters, dropped)
            for resident in self.store.adopt(adapters, settled):
                self._free(resident)
        mine, self.store.events = self.events, before.events
        self.events.tell_again(mine)
        self.load_seconds += before.load_seconds
        self.swaps, self.swap_seconds = self.swaps + before.swaps, self.swap_seconds + before.swap_seconds
        before._successor = self

    def _unload_all(self, names: Collection[str]) -> None:
        for adapter in [adapter for adapter in self.store.adapters() if adapter.name in names]:
            try:
                self.unload(adapter.name)
            except LlmServerError as error:
                log.warning("%s is not unloaded: %s", adapter.name, error.message)

    @property
    def _last(self) -> "AdapterManager":
        return self if self._successor is None else self._successor._last

    @property
    def events(self) -> Events:
        """What happens to them."""
        return self.store.events

    def close(self) -> None:
        """Take nothing new; what is loaded goes with the model."""
        for worker in (self._worker, self._returns):
            worker.shutdown(wait=True, cancel_futures=True)
        self._form.close()
        if self._successor is None:
            self.events.close()
