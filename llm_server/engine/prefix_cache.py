"""Which slot of the KV cache holds which tokens: finished sequences stay as prefixes for later ones.

A slot is free, in use by a running sequence, or cached. Looking for the longest common prefix over at most
a few hundred slots beats a tree in every case that was measured here, and has nothing to keep consistent.
"""

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from llm_server.engine.sequence import CacheKey


@dataclass(frozen=True, slots=True)
class Prefix:
    """Tokens that a slot holds, under the key that they were computed with."""

    slot: int
    key: CacheKey
    tokens: Sequence[int]

    @property
    def digest(self) -> bytes:
        """Hash of key and tokens."""
        return self.key.digest(list(self.tokens))


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a new sequence goes: `slot`, with `reused` tokens out of `source`."""

    slot: int
    reused: int
    source: int | None
    """None: nothing is reused; `slot` itself: it is continued; else shared from there."""


def common_prefix(a: Sequence[int], b: Sequence[int]) -> int:
    """Number of leading tokens that are equal."""
    limit = min(len(a), len(b))
    if list(a[:limit]) == list(b[:limit]):
        return limit
    low, high = 0, limit
    while low + 1 < high:
        middle = (low + high) // 2
        if list(a[low:middle]) == list(b[low:middle]):
            low = middle
        else:
            high = middle
    return low


class PrefixCache:
    """Owns the slots. Least recently used prefixes go first."""

    def __init__(self, slots: int, tokens: int | None = None) -> None:
        """`tokens`: how many cached prefixes hold in all; None: as many as there is room for."""
        self._tokens = tokens
        self._free = list(range(slots))[::-1]
        self._cached: OrderedDict[int, Prefix] = OrderedDict()
        self.hits = 0
        self.reused_tokens = 0

    def __len__(self) -> int:
        return len(self._cached)

    def find(
        self, key: CacheKey, tokens: Sequence[int], running: Iterable[Prefix] = ()
    ) -> tuple[Prefix | None, int]:
        """The prefix that has most in common with `tokens`, and how much; the last token is never reused,
        because its logits are needed."""
        best, length = None, 0
        for prefix in (*self._cached.values(), *running):
            common = common_prefix(prefix.tokens, tokens) if prefix.key == key else 0
            if common > length:
                best, length = prefix, common
        return best, min(length, len(tokens) - 1)

    def place(self, key: CacheKey, tokens: Sequence[int], running: Iterable[Prefix] = ()) -> Placement | None:
        """Take a slot for `tokens`; None when every slot is in use."""
        best, length = self.find(key, tokens, running)
        if best is None or length <= 0:
            slot = self._take(None)
            return None if slot is None else Placement(slot, 0, None)
        self.hits += 1
        self.reused_tokens += length
        cached = best.slot in self._cached
        if cached and length == len(best.tokens):
            del self._cached[best.slot]
            return Placement(best.slot, length, best.slot)
        if cached:
            self._cached.move_to_end(best.slot)
        slot = self._take(best.slot)
        if slot is None and cached:
            del self._cached[best.slot]
            return Placement(best.slot, length, best.slot)
        return None if slot is None else Placement(slot, length, best.slot)

    def keep(self, prefix: Prefix) -> list[int]:
        """A sequence is through: its slot becomes a cached prefix. Returns the slots that are free and
        to be emptied: its own where a cached prefix covers it, those of prefixes that it covers, and
        those that are too much.
        """
        alike = [p for p in self._cached.values() if p.key == prefix.key]
        longer = next((p for p in alike if list(p.tokens[: len(prefix.tokens)]) == list(prefix.tokens)), None)
        if longer is not None or not prefix.tokens:
            self._free.append(prefix.slot)
            return [prefix.slot]
        covered = [p.slot for p in alike if list(prefix.tokens[: len(p.tokens)]) == list(p.tokens)]
        for slot in covered:
            del self._cached[slot]
            self._free.append(slot)
        self._cached[prefix.slot] = prefix
        return covered + self._surplus()

    def _surplus(self) -> list[int]:
        """Evict what is more than the cache may hold, but for the latest prefix; the slots to be emptied."""
        slots = []
        held = sum(len(prefix.tokens) for prefix in self._cached.values())
        while self._tokens is not None and held > self._tokens and len(self._cached) > 1:
            slot, prefix = self._cached.popitem(last=False)
            held -= len(prefix.tokens)
            self._free.append(slot)
            slots.append(slot)
        return slots

    def release(self, slot: int) -> None:
        """A slot is empty again."""
        self._free.append(slot)

    def evict(self) -> int | None:
        """Free the least recently used prefix; its slot, to be emptied, or None when there is none."""
        if not self._cached:
            return None
        slot, _ = self._cached.popitem(last=False)
        self._free.append(slot)
        return slot

    def _take(self, spare: int | None) -> int | None:
        """A slot, evicting where needed, but never `spare`."""
        if self._free:
            return self._free.pop()
        slot = next((s for s in self._cached if s != spare), None)
        if slot is not None:
            del self._cached[slot]
        return slot
