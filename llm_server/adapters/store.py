"""Names to versions, counted use, and a file that survives a restart.

Changes wait for each other and for the disk. Who looks something up waits for neither: a file that takes its
time to be written must not hold the event loop, and with it every stream.
"""

import logging
import threading
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from llm_server.adapters.check_peft import Facts
from llm_server.adapters.events import Events
from llm_server.adapters.probe import Effect
from llm_server.adapters.source import Source
from llm_server.adapters.store_file import KEPT, adapters_text, read_adapters, write_adapters
from llm_server.adapters.versions import ALIASES, PREVIOUS, STABLE, Adapter, State, Version
from llm_server.engine.blend import Resident
from llm_server.errors import BadRequest, Conflict, NotFound, PreparationFailed

log = logging.getLogger(__name__)
COUNTED = ("inflight", "hits", "last_used")


class AdapterStore:
    """The adapters of one base model."""

    def __init__(self, file: Path, events: Events) -> None:
        """`events` are told of every change."""
        self._file, self.events = file, events
        self._adapters = read_adapters(file)
        self._over = False
        """Whether another store has taken over: nothing is written down here any more."""
        self._writing = threading.RLock()
        """One change at a time, until it is written down. The first of these locks to be taken."""
        self._known = threading.RLock()
        """What is in `_adapters`, for a moment."""
        self._uses = threading.Condition()
        """Counts of uses; the last to be taken."""

    # Looking up

    def names(self) -> list[str]:
        """Adapters with a version that can be served."""
        with self._known:
            return [a.name for a in self._adapters.values() if self._served(a)]

    def adapters(self) -> list[Adapter]:
        """All, as they are now."""
        with self._known:
            return list(self._adapters.values())

    def adapter(self, name: str) -> Adapter:
        """NotFound."""
        with self._known:
            found = self._adapters.get(name)
            if found is None:
                # Which ones there are depends on the key that asks.
                raise NotFound(
                    f"There is no adapter `{name}`. GET /v1/adapters lists them.", code="adapter_not_found"
                )
            return found

    def find(self, name: str, ref: str = "") -> Version:
        """The version that a name means now: an alias, `sha256:` with some digits, or none for `stable`.

        NotFound where there is none that can be served.
        """
        with self._known:
            adapter = self.adapter(name)
            version = self._find(adapter, ref or STABLE)
            if version.state not in (State.READY, State.EVICTED):
                raise NotFound(
                    f"`{name}@{ref or STABLE}` is {version.state}, it cannot be used now.",
                    code="adapter_not_ready",
                )
            return version

    def _find(self, adapter: Adapter, ref: str) -> Version:
        if ref in adapter.aliases:
            return adapter.versions[adapter.aliases[ref]]
        digits = ref.removeprefix("sha256:")
        found = [v for v in adapter.versions.values() if v.id.removeprefix("sha256:").startswith(digits)]
        if len(digits) >= 4 and len(found) == 1:
            return found[0]
        what = (
            "fits more than one version" if len(found) > 1 and len(digits) >= 4 else "is no version or alias"
        )
        raise NotFound(f"`{ref}` {what} of the adapter `{adapter.name}`.", code="adapter_not_found")

    # Use

    def hold(self, versions: Sequence[Version], count: int = 1) -> list[Resident] | None:
        """Count uses of versions in one step; None where one of them has left the memory meanwhile."""
        with self._uses:
            residents = [version.resident for version in versions if version.resident is not None]
            if len(residents) < len(versions):
                return None
            for version in versions:
                version.inflight += count
                version.hits += count
                version.last_used = time.time()
            return residents

    def release(self, versions: Sequence[Version]) -> None:
        """One use less."""
        with self._uses:
            for version in versions:
                version.inflight -= 1
            self._uses.notify_all()

    def wait_unused(self, version: Version, seconds: float) -> bool:
        """Until no sequence uses a version, at most so long; whether it came to that."""
        with self._uses:
            return self._uses.wait_for(lambda: version.inflight == 0, seconds)

    # Life

    def begin(self, name: str, source: Source, origin: str = "") -> tuple[Version, bool]:
        """A version that is about to be loaded, and whether it is new: the same content is loaded once.
        `origin`: where it came from, if `source` is a copy.
        """
        with self._writing, self._known:
            adapter = self._adapters.setdefault(name, Adapter(name))
            known = adapter.versions.get(source.digest)
            if known is not None and known.state in (State.LOADING, State.READY, State.EVICTED):
                return known, False
            self._refuse_when_over()
            version = Version(source.digest, name, origin or str(source.path), source.kind, time.time())
            adapter.versions[version.id] = version
            self._tell("loading", version)
            return version, True

    def publish(
        self, version: Version, file: Path, facts: Facts | None, effect: Effect | None, resident: Resident
    ) -> None:
        """A version is ready; the first one of a name becomes `stable`. Conflict where it has been unloaded
        meanwhile, PreparationFailed where that cannot be written down; then it is as it was.
        """
        with self._writing:
            if version.state not in (State.LOADING, State.EVICTED):
                raise Conflict(f"{version.name} was unloaded while it was loaded.", code="adapter_unloaded")
            adapter = self._adapters[version.name]
            # One that comes back into the memory is written down already.
            with self._kept(adapter, version, write=version.state is State.LOADING):
                version.file, version.resident, version.state = file, resident, State.READY
                version.facts, version.effect = facts or version.facts, effect or version.effect
                version.last_used, version.error = time.time(), None
                adapter.aliases.setdefault(STABLE, version.id)
        self._tell("ready", version)

    def fail(self, version: Version, error: dict[str, Any]) -> None:
        """A version cannot be loaded; it stays listed with the reason, and nobody can choose it."""
        with self._writing, self._known:
            version.state, version.error = State.FAILED, error
        self._tell("failed", version)

    def evict(self, version: Version) -> Resident | None:
        """Take an unused version out of the memory; None where it is in use."""
        with self._writing, self._known, self._uses:
            if version.inflight or version.state is not State.READY:
                return None
            resident, version.resident, version.state = version.resident, None, State.EVICTED
        self._tell("evicted", version)
        return resident

    def promote(self, name: str, ref: str, alias: str, if_match: str | None) -> Version:
        """Let an alias mean another version, in one step. Conflict where it is not what `if_match` says."""
        if alias not in ALIASES:
            raise BadRequest(f"`{alias}` is no alias; there are {', '.join(ALIASES)}.", param="alias")
        with self._writing:
            adapter = self.adapter(name)
            version = self.find(name, ref)
            current = adapter.aliases.get(alias)
            if if_match is not None and not (current or "").startswith(if_match):
                raise Conflict(
                    f"`{alias}` of `{name}` is {current}, not {if_match}.", code="version_conflict"
                )
            with self._kept(adapter):
                if alias == STABLE and current and current != version.id:
                    adapter.aliases[PREVIOUS] = current
                adapter.aliases[alias] = version.id
        self._tell("promoted", version)
        return version

    def rollback(self, name: str, to: str = PREVIOUS) -> Version:
        """`stable` means `to`, and `previous` what it meant. Conflict where there is no previous version."""
        with self._writing:
            adapter = self.adapter(name)
            if to == PREVIOUS and PREVIOUS not in adapter.aliases:
                raise Conflict(f"`{name}` has no previous version.", code="no_previous_version")
            version = self.find(name, to)
            with self._kept(adapter):
                adapter.aliases[STABLE], adapter.aliases[PREVIOUS] = version.id, adapter.aliases[STABLE]
        self._tell("rolled_back", version)
        return version

    def change(self, name: str, scale: float | None, pinned: bool | None) -> Adapter:
        """Set the scale and the pin of a name."""
        with self._writing:
            adapter = self.adapter(name)
            with self._kept(adapter):
                adapter.scale = adapter.scale if scale is None else scale
                adapter.pinned = adapter.pinned if pinned is None else pinned
            return adapter

    def retire(self, name: str, ref: str = "") -> list[Version]:
        """Nobody new gets these versions (all of a name, or one); the ones that run go on."""
        with self._writing:
            adapter = self.adapter(name)
            versions = [self._find(adapter, ref)] if ref else list(adapter.versions.values())
            with self._kept(adapter, *versions):
                for version in versions:
                    version.state = State.DRAINING
                    adapter.aliases = {a: v for a, v in adapter.aliases.items() if v != version.id}
        for version in versions:
            self._tell("draining", version)
        return versions

    def forget(self, version: Version) -> Resident | None:
        """Drop a retired version once it is unused; what it held in the memory is the caller's to free."""
        with self._uses:
            self._uses.wait_for(lambda: version.inflight == 0)
            resident, version.resident = version.resident, None
        with self._writing:
            with self._known:
                adapter = self._adapters.get(version.name)
                if adapter is not None and adapter.versions.get(version.id) is version:
                    del adapter.versions[version.id]
                    if not adapter.versions:
                        del self._adapters[version.name]
            # The file names no version that drains, only what is left of its adapter.
            self.save()
        self._tell("unloaded", version)
        return resident

    # Succession

    def save(self) -> None:
        """Write down what is known, where nobody waits for it; the log tells of a full disk."""
        with self._writing:
            with self._known:
                text = adapters_text(self._adapters.values())
            try:
                if not self._over:
                    write_adapters(self._file, text)
            except PreparationFailed as error:
                log.warning("%s", error.message)

    def finish(self) -> list[Adapter]:
        """Change nothing more, and say what can be served: another store goes on from there."""
        with self._writing, self._known:
            self._over = True
            kept = []
            for adapter in self._adapters.values():
                versions = {v.id: v for v in adapter.versions.values() if v.state in KEPT}
                kept.append(replace(adapter, versions=versions, aliases=dict(adapter.aliases)))
            return kept

    def adopt(self, adapters: Sequence[Adapter], settled: Collection[str]) -> list[Resident]:
        """Go on where another store has finished: its versions that are on this disk, its aliases, scales
        and pins. Of the `settled` names this store knows better what they mean. Returns what is to be freed.
        """
        freed: list[Resident] = []
        with self._writing, self._known:
            theirs = {adapter.name: adapter for adapter in adapters}
            for name in list(self._adapters):
                if name not in settled:
                    freed += self._drop_unknown(self._adapters[name], theirs.get(name, Adapter(name)))
            for name, other in theirs.items():
                mine = self._adapters.setdefault(name, Adapter(name))
                _inherit(mine, other, self._file.parent)
                if name in settled:
                    mine.aliases = {**other.aliases, **mine.aliases}
                else:
                    mine.aliases, mine.scale, mine.pinned = dict(other.aliases), other.scale, other.pinned
                mine.aliases = {a: v for a, v in mine.aliases.items() if v in mine.versions}
            self._adapters = {name: a for name, a in self._adapters.items() if a.versions}
        self.save()
        return freed

    def _drop_unknown(self, adapter: Adapter, other: Adapter) -> Iterator[Resident]:
        """Versions that were unloaded there while this store was filled."""
        for version in [v for v in adapter.versions.values() if v.id not in other.versions]:
            del adapter.versions[version.id]
            if version.resident is not None:
                yield version.resident

    def drop_file(self, version: Version, file: Path) -> None:
        """Delete a version's file, unless another one of the same content needs it or will need it."""
        with self._writing:
            if not self.needs(version.id, but=version):
                file.unlink(missing_ok=True)

    def needs(self, content: str, but: Version | None = None) -> bool:
        """Whether a version of this content is served or will be."""
        alive = (State.LOADING, State.READY, State.EVICTED)
        with self._known:
            versions = [v for adapter in self._adapters.values() for v in adapter.versions.values()]
        return any(v is not but and v.id == content and v.state in alive for v in versions)

    def _served(self, adapter: Adapter) -> bool:
        stable = adapter.versions.get(adapter.aliases.get(STABLE, ""))
        return stable is not None and stable.state in (State.READY, State.EVICTED)

    @contextmanager
    def _kept(self, adapter: Adapter, *versions: Version, write: bool = True) -> Iterator[None]:
        """Changes that nobody sees until they are written down."""
        touched: tuple[Adapter | Version, ...] = (adapter, *versions)
        if write:
            self._refuse_when_over()
        with self._known:
            before = [_values(one) for one in touched]
            try:
                yield
                after = [_values(one) for one in touched]
                text = adapters_text(self._adapters.values())
            finally:
                _set(touched, before)
        if write:
            write_adapters(self._file, text)
        with self._known:
            _set(touched, after)

    def _tell(self, kind: str, version: Version) -> None:
        self.events.tell(kind, version)

    def _refuse_when_over(self) -> None:
        if self._over:
            late = Conflict("The model has just been replaced. Try again.", code="model_replaced")
            late.retry_after = 0.1
            raise late


def _values(one: Adapter | Version) -> dict[str, Any]:
    """What a change may change; uses are counted meanwhile. The dictionaries are changed in place."""
    values = {field.name: getattr(one, field.name) for field in fields(one) if field.name not in COUNTED}
    return {name: dict(value) if isinstance(value, dict) else value for name, value in values.items()}


def _set(touched: Sequence[Adapter | Version], values: Sequence[dict[str, Any]]) -> None:
    for one, each in zip(touched, values, strict=True):
        for name, value in each.items():
            setattr(one, name, value)


def _inherit(mine: Adapter, other: Adapter, folder: Path) -> None:
    """Versions that lie in the same folder; what is known about the others."""
    for version in other.versions.values():
        own = mine.versions.get(version.id)
        if own is not None:
            own.facts, own.effect = own.facts or version.facts, own.effect or version.effect
        elif version.file is not None and version.file.parent == folder:
            mine.versions[version.id] = replace(version, state=State.EVICTED, resident=None, inflight=0)
