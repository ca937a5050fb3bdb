"""Lets the backend's slots hold what the prefix cache says."""

import logging
from collections.abc import Iterable

from llm_server.engine.backend import Backend
from llm_server.engine.prefix_cache import Placement, PrefixCache, Saved
from llm_server.engine.sequence import Sequence

log = logging.getLogger(__name__)


class Slots:
    """Saves, restores, shares and empties; the engine's thread only."""

    def __init__(self, backend: Backend, cache: PrefixCache) -> None:
        self._backend, self._cache = backend, cache

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
            self._cache.save(saved, self._backend.save(slot))
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

    def _restore(self, sequence: Sequence, slot: int, saved: Saved) -> None:
        """Where that is not possible, the sequence is computed from its beginning."""
        if saved.blob is not None and self._backend.restore(slot, saved.blob):
            return
        self._cache.forget(saved)
        sequence.computed = sequence.reused = 0
