"""Lets the backend's slots hold what the prefix cache says."""

import logging
from collections.abc import Iterable, Iterator

from llm_server.engine.backend import Backend
from llm_server.engine.prefix_cache import Blob, Placement, Prefix, PrefixCache, Saved
from llm_server.engine.prefix_disk import PrefixDisk, name_of
from llm_server.engine.sequence import Sequence

log = logging.getLogger(__name__)
CLOSING = 3.0
"""Seconds for writing prefixes to a disk when an engine is closed."""


class Slots:
    """Saves, restores, shares and empties; the engine's thread only."""

    def __init__(self, backend: Backend, cache: PrefixCache, disk: PrefixDisk | None = None) -> None:
        """`disk` takes what the cache has no room for."""
        self._backend, self._cache, self._disk = backend, cache, disk
        self._stored: dict[str, Saved] = {}
        """What is on the disk, by name."""
        if disk is not None:
            for prefix in disk.known(backend.digest, backend.context):
                self._stored[name_of(prefix)] = cache.add_stored(prefix)

    def fill(self, sequence: Sequence, placement: Placement) -> None:
        """The slot of a sequence that starts holds the part of it that was found."""
        slot, source = placement.slot, placement.source
        if source != slot:
            self._backend.trim(slot, 0)
        if isinstance(source, Saved):
            self._restore(sequence, slot, source)
        elif source is not None and source != slot:
            self._backend.share(source, slot, sequence.computed)
        self._backend.trim(slot, sequence.computed)

    def save(self, slot: int, saved: Saved) -> None:
        """A prefix that cannot be saved is computed again one day; nobody fails for it."""
        try:
            for lost in self._cache.save(saved, self._backend.save(slot)):
                self._store(lost)
        except Exception:
            log.warning("a prefix could not be saved", exc_info=True)
            self._cache.forget(saved)

    def empty(self, slots: Iterable[int]) -> None:
        """Nobody needs what they hold."""
        for slot in slots:
            self._backend.trim(slot, 0)

    def clean(self, sequence: Sequence) -> None:
        """Drop what a failed batch may have left behind in the slot of a running sequence."""
        if sequence.slot is not None:
            self._backend.trim(sequence.slot, sequence.computed)

    def close(self) -> None:
        """Leave for the next run what there is, most recently used first, as far as a moment allows."""
        if self._disk is not None:
            self._disk.close(self._left(), CLOSING)

    def _left(self) -> Iterator[tuple[Prefix, Blob]]:
        for slot, prefix in self._cache.idle():
            yield prefix, self._backend.save(slot)
        for saved in self._cache.saved():
            if saved.blob is not None:
                yield saved.prefix, saved.blob

    def _store(self, lost: Saved) -> None:
        if self._disk is None or lost.blob is None:
            return
        for gone in self._disk.gone():
            self._forget(gone)
        name = name_of(lost.prefix)
        if name not in self._stored and self._disk.put(lost.prefix, lost.blob):
            self._stored[name] = self._cache.add_stored(lost.prefix)

    def _forget(self, name: str) -> None:
        """The disk does not have it any more."""
        stored = self._stored.pop(name, None)
        if stored is not None:
            self._cache.forget(stored)

    def _restore(self, sequence: Sequence, slot: int, saved: Saved) -> None:
        """Where that is not possible, the sequence is computed from its beginning."""
        blob = self._disk.get(saved.prefix) if saved.stored and self._disk is not None else saved.blob
        if blob is not None and self._backend.restore(slot, blob):
            return
        self._stored.pop(name_of(saved.prefix), None)
        self._cache.forget(saved)
        sequence.computed = sequence.reused = 0
