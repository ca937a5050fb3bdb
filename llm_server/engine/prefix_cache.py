"""Which tokens have their keys and values where: in a slot of the KV cache, saved in the host's memory, or on
a disk (see `prefix_disk`).

A finished sequence stays in its slot. When somebody else needs the slot, what it holds is saved first: there
are as many slots as sequences that run, and as many prefixes as the memory may hold. Prefixes are compared
one by one; at a few hundred of them that is less than a millisecond a request, and nothing has to be kept
consistent.
"""

from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llm_server.engine.sequence import CacheKey

Tokens = NDArray[np.int32]
Blob = NDArray[Any]
"""Keys and values of one slot as the backend wrote them."""

WORTH_COPYING = 16
"""Tokens below which a prefix is computed again rather than copied."""


@dataclass(frozen=True, eq=False, slots=True)
class Prefix:
    """Tokens whose keys and values are somewhere, and the key that they were computed under."""

    key: CacheKey
    tokens: Tokens

    @classmethod
    def of(cls, key: CacheKey, tokens: list[int]) -> "Prefix":
        """From a list."""
        return cls(key, np.array(tokens, np.int32))

    def covers(self, other: "Prefix") -> bool:
        """Whether `other` is a beginning of this one."""
        return self.key == other.key and common_prefix(self.tokens, other.tokens) == len(other.tokens)


@dataclass(eq=False, slots=True)
class Saved:
    """A prefix on its way out of a slot, in the host's memory (then it has a blob), or on a disk."""

    prefix: Prefix
    blob: Blob | None = None
    stored: bool = False


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a new sequence goes: `slot`, with `reused` tokens out of `source`."""

    slot: int
    reused: int = 0
    source: int | Saved | None = None
    """None: nothing is reused; `slot` itself: it is continued; else shared from that slot, or restored."""
    displaced: Saved | None = None
    """What `slot` holds and is to be saved first."""


def common_prefix(a: Tokens, b: Tokens) -> int:
    """Number of leading tokens that are equal."""
    limit = min(len(a), len(b))
    differ = a[:limit] != b[:limit]
    first = int(differ.argmax()) if limit else 0
    return first if limit and differ[first] else limit


class PrefixCache:
    """Owns the slots and the list of saved prefixes. Least recently used prefixes go first."""

    def __init__(self, slots: int, byte_limit: int = 0) -> None:
        """`byte_limit`: of saved prefixes in all; none are saved at 0."""
        self._limit = byte_limit
        self._free = set(range(slots))
        self._idle: OrderedDict[int, Prefix] = OrderedDict()
        self._saved: OrderedDict[Saved, None] = OrderedDict()
        self.saved_bytes = 0
        self.hits = 0
        self.reused_tokens = 0

    def __len__(self) -> int:
        return len(self._idle) + len(self._saved)

    def find(
        self, prefix: Prefix, running: Mapping[int, Prefix] | None = None
    ) -> tuple[int | Saved | None, int]:
        """Where most of the beginning of `prefix` is, and how much of it; the last token is never reused,
        because its logits are needed.
        """
        best: int | Saved | None = None
        length = 0
        for place, known in self._places(running or {}):
            common = common_prefix(known.tokens, prefix.tokens) if known.key == prefix.key else 0
            if common > length:
                best, length = place, common
        length = min(length, len(prefix.tokens) - 1)
        return (best, length) if length > 0 else (None, 0)

    def place(self, prefix: Prefix, running: Mapping[int, Prefix] | None = None) -> Placement | None:
        """Take a slot for a sequence; None when every slot is in use."""
        source, length = self.find(prefix, running)
        continued = self._idle.get(source) if isinstance(source, int) else None
        if length < WORTH_COPYING and (continued is None or length < len(continued.tokens)):
            source, length, continued = None, 0, None
        if isinstance(source, int) and continued is not None and length == len(continued.tokens):
            del self._idle[source]
            slot, displaced = source, None
        else:
            taken = self._take(source)
            if taken is None:
                return None
            slot, displaced = taken
        if source is not None:
            self.hits += 1
            self.reused_tokens += length
            self._touch(source)
        return Placement(slot, length, source, displaced)

    def keep(self, slot: int, prefix: Prefix) -> list[int]:
        """A sequence is through: its slot holds a prefix from now on. Returns the slots that are free now
        and to be emptied: its own where another prefix covers it, and those of prefixes that it covers.
        """
        if not len(prefix.tokens) or any(known.covers(prefix) for _, known in self._held()):
            self._free.add(slot)
            return [slot]
        covered = [place for place, known in self._held() if prefix.covers(known)]
        for place in covered:
            self._drop(place)
        self._idle[slot] = prefix
        return [place for place in covered if isinstance(place, int)]

    def release(self, slot: int, prefix: Prefix | None = None) -> Saved | None:
        """A sequence has left its slot; what of `prefix` is to be saved."""
        self._free.add(slot)
        return None if prefix is None else self._displace(prefix)

    def evict(self) -> tuple[int, Saved | None] | None:
        """Free the slot of the least recently used prefix, to be emptied; what is to be saved before."""
        if not self._idle:
            return None
        slot, prefix = self._idle.popitem(last=False)
        return slot, self.release(slot, prefix)

    def save(self, saved: Saved, blob: Blob) -> list[Saved]:
        """It is in the host's memory now. The oldest go when there are too many bytes; returns them."""
        if saved not in self._saved:
            return []
        saved.blob = blob
        self.saved_bytes += blob.nbytes
        lost = []
        while self.saved_bytes > self._limit:
            oldest = next(each for each in self._saved if each.blob is not None)
            self._drop(oldest)
            lost.append(oldest)
        return lost

    def add_stored(self, prefix: Prefix) -> Saved:
        """It is on a disk now."""
        saved = Saved(prefix, stored=True)
        self._saved[saved] = None
        return saved

    def idle(self) -> list[tuple[int, Prefix]]:
        """Prefixes in slots, most recently used first."""
        return list(reversed(self._idle.items()))

    def saved(self) -> list[Saved]:
        """Prefixes in the host's memory, most recently used first."""
        return [each for each in reversed(self._saved) if each.blob is not None]

    def clear(self) -> None:
        """Hold nothing more: the backend is about to be closed."""
        self._idle.clear()
        self._saved.clear()
        self.saved_bytes = 0

    def forget(self, saved: Saved) -> None:
        """It could not be saved or restored."""
        if saved in self._saved:
            self._drop(saved)

    def _places(self, running: Mapping[int, Prefix]) -> Iterator[tuple[int | Saved, Prefix]]:
        """Cheapest to reuse first."""
        yield from list(self._idle.items())
        yield from running.items()
        for stored in (False, True):
            yield from [(saved, saved.prefix) for saved in self._saved if saved.stored is stored]

    def _held(self) -> Iterator[tuple[int | Saved, Prefix]]:
        """Without a disk's, which is too far away to make up for one that is here."""
        return (pair for pair in self._places({}) if isinstance(pair[0], int) or not pair[0].stored)

    def _take(self, source: int | Saved | None) -> tuple[int, Saved | None] | None:
        """The lowest slot, because a batch is cheapest over neighbours; one that is empty where there is one,
        the source itself at last.
        """
        if self._free:
            slot = min(self._free)
            self._free.remove(slot)
            return slot, None
        slot = min((s for s in self._idle if s != source), default=-1)
        if slot < 0 and source in self._idle and isinstance(source, int):
            slot = source
        return None if slot < 0 else (slot, self._displace(self._idle.pop(slot)))

    def _displace(self, prefix: Prefix) -> Saved | None:
        if not self._limit or len(prefix.tokens) < WORTH_COPYING:
            return None
        saved = Saved(prefix)
        self._saved[saved] = None
        return saved

    def _touch(self, place: int | Saved) -> None:
        if isinstance(place, Saved):
            self._saved.move_to_end(place)
        elif place in self._idle:
            self._idle.move_to_end(place)

    def _drop(self, place: int | Saved) -> None:
        if isinstance(place, Saved):
            del self._saved[place]
            self.saved_bytes -= 0 if place.blob is None else place.blob.nbytes
        else:
            del self._idle[place]
            self._free.add(place)
