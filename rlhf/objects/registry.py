"""The registry of several machines: every version and what names mean lies in the bucket of models."""

from __future__ import annotations

import json
import logging
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

from rlhf.errors import ObjectError, RegistryError, RlhfError, StoreAway, StoreChanged
from rlhf.objects.depot import BucketDepot, Depot
from rlhf.products import ADAPTER
from rlhf.registry import ALIASES, CHATS, Registry, Version, alone, write

T = TypeVar("T")
BELIEVED = 2.0
"""Seconds for which what was last seen is taken to be so."""
PAUSE = 30.0
"""Seconds until a store that did not answer is asked again; local copies serve meanwhile."""
ATTEMPTS = 5
BYTES = 1 << 20

_log = logging.getLogger(__name__)


def registry_of(root: Path, depot: Depot) -> Registry:
    """The registry below a folder, kept by a depot of it."""
    return SharedRegistry(root, depot) if isinstance(depot, BucketDepot) else Registry(root)


class SharedRegistry(Registry):
    """Reads local copies, which follow the bucket. What a name means is decided there, for all machines.

    Methods that change something raise ObjectError too.
    """

    def __init__(self, root: Path, depot: BucketDepot) -> None:
        super().__init__(root)
        self._depot, self._bucket = depot, depot.bucket
        self._looking, self._behind = threading.Lock(), threading.Lock()
        self._next = 0.0

    def add(
        self,
        name: str,
        source: Path,
        lineage: dict[str, Any],
        pairs: list[dict[str, Any]],
        kind: str = ADAPTER,
    ) -> Version:
        """As `Registry.add`, and kept; what cannot be kept is not added."""
        self.admit(name, kind)
        before = {version.digest for version in self.versions(name)}
        version = super().add(name, source, lineage, pairs, kind)
        try:
            self._depot.keep(version.folder)
        except ObjectError:
            if version.digest not in before:
                shutil.rmtree(version.folder, ignore_errors=True)
            raise
        return version

    def changed(self, version: Version) -> None:
        """Keep what was written beside a version, such as its report."""
        self._depot.keep(version.folder, changed=True)

    def adopt(self) -> None:
        """Keep what was added before there was a bucket."""
        self.look()
        for name in super().names():
            for version in super().versions(name):
                self._depot.keep(version.folder)
            with alone(self.folder / name):
                local = super().aliases(name)
                if local and self._bucket.read(f"{name}/{ALIASES}", BYTES) is None:
                    self._exchange(name, local, "")

    def names(self) -> list[str]:
        """Those of all machines."""
        self.look()
        return super().names()

    def versions(self, name: str) -> list[Version]:
        """Those of all machines, with local copies."""
        self.look()
        return super().versions(name)

    def aliases(self, name: str) -> dict[str, str]:
        """As the bucket has them."""
        self.look()
        return super().aliases(name)

    def promote(self, version: Version) -> None:
        """As `Registry.promote`."""
        _insisting(lambda: super(SharedRegistry, self).promote(version))

    def propose(self, version: Version) -> None:
        """As `Registry.propose`."""
        _insisting(lambda: super(SharedRegistry, self).propose(version))

    def rollback(self, name: str) -> Version:
        """As `Registry.rollback`."""
        return _insisting(lambda: super(SharedRegistry, self).rollback(name))

    def choose(self, model: str) -> None:
        """As `Registry.choose`, for every gateway."""
        self._bucket.send(CHATS, json.dumps({"model": model}).encode())
        super().choose(model)

    def chosen(self) -> str:
        """As of some seconds ago: a chat does not wait for the bucket."""
        if time.monotonic() >= self._next and self._behind.acquire(blocking=False):
            threading.Thread(target=self._look_behind, daemon=True).start()
        return super().chosen()

    def _look_behind(self) -> None:
        try:
            self.look()
        finally:
            self._behind.release()

    def look(self) -> None:
        """Let local copies be what is kept. Where the store does not answer they stay as they are."""
        with self._looking:
            if time.monotonic() < self._next:
                return
            try:
                self._settle()
                self._follow()
                self._next = time.monotonic() + BELIEVED
            except (RlhfError, OSError) as error:
                _log.warning("the registry shows local copies", extra={"why": str(error)})
                self._next = time.monotonic() + PAUSE

    def _settle(self) -> None:
        try:
            self._depot.settle(everything=True)
        except StoreAway:
            raise
        except RlhfError as error:
            _log.warning("a version of the registry is not believed", extra={"why": str(error)})

    def _follow(self) -> None:
        """What names mean, and what answers chats."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for key in (CHATS, *(f"{name}/{ALIASES}" for name in super().names())):
            file = self.folder / key
            # Read under the lock too: what is exchanged meanwhile must not be put back.
            with alone(file.parent):
                found = self._bucket.read(key, BYTES)
                if found and (kept := _mapping(found[0], self._bucket.at(key))) != _local(file):
                    write(file, kept)

    @contextmanager
    def _changing(self, name: str) -> Iterator[dict[str, str]]:
        folder = self.folder / name
        if not folder.is_dir():
            raise RegistryError(f"there is no adapter `{name}`")
        with alone(folder):
            found = self._bucket.read(f"{name}/{ALIASES}", BYTES)
            before = _mapping(found[0], self._bucket.at(name)) if found else super().aliases(name)
            aliases = dict(before)
            yield aliases
            if aliases != before:
                self._exchange(name, aliases, found[1] if found else "")

    def _exchange(self, name: str, aliases: dict[str, str], tag: str) -> None:
        self._bucket.exchange(f"{name}/{ALIASES}", json.dumps(aliases).encode(), tag)
        write(self.folder / name / ALIASES, aliases)

    def _remove(self, version: Version) -> None:
        self._depot.drop(version.folder)
        super()._remove(version)


def _insisting(work: Callable[[], T]) -> T:
    """Again where another machine has changed the same name. StoreChanged in the end."""
    for _ in range(ATTEMPTS - 1):
        try:
            return work()
        except StoreChanged:
            time.sleep(0.1)
    return work()


def _local(file: Path) -> object:
    """None where there is none that can be read."""
    with suppress(FileNotFoundError, ValueError):
        return json.loads(file.read_bytes())
    return None


def _mapping(content: bytes, where: str) -> dict[str, str]:
    try:
        found = {str(key): str(value) for key, value in json.loads(content).items()}
        "".join((*found, *found.values())).encode()  # a lone surrogate is a ValueError, as no JSON is
        return found
    except (ValueError, AttributeError, RecursionError) as error:
        raise ObjectError(f"{where} was altered: it maps no names to versions") from error
