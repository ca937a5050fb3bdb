"""Prefixes are found, shared, saved, and forgotten in order."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from llm_server.engine.prefix_cache import (
    WORTH_COPYING,
    Placement,
    Prefix,
    PrefixCache,
    Saved,
    common_prefix,
)
from llm_server.engine.sequence import CacheKey

KEY = CacheKey(b"base")
OTHER = CacheKey(b"base", blend=b"adapter")
LONG = WORTH_COPYING * 2


def of(*tokens: int, key: CacheKey = KEY) -> Prefix:
    return Prefix.of(key, list(tokens))


def long(start: int) -> Prefix:
    """Worth saving, and different from others from its first token on."""
    return of(*range(start, start + LONG))


def blob(size: int) -> "np.ndarray[tuple[int, ...], np.dtype[np.uint8]]":
    return np.zeros(size, np.uint8)


def finished(cache: PrefixCache, prefix: Prefix) -> int:
    """A sequence of these tokens came and went; its slot. What it displaced is saved, ten bytes each."""
    placement = cache.place(prefix)
    assert placement is not None
    if placement.displaced is not None:
        cache.save(placement.displaced, blob(10))
    cache.keep(placement.slot, prefix)
    return placement.slot


def test_a_longer_conversation_continues_in_the_same_slot() -> None:
    cache = PrefixCache(2)
    slot = finished(cache, of(1, 2, 3))
    assert cache.place(of(1, 2, 3, 4, 5)) == Placement(slot, 3, slot)
    assert (cache.hits, cache.reused_tokens) == (1, 3)


def test_a_prefix_that_others_may_want_is_shared_and_stays() -> None:
    cache = PrefixCache(3)
    slot = finished(cache, long(0))
    beginning = range(WORTH_COPYING)
    assert cache.place(of(*beginning, 999, 999)) == Placement(slot + 1, WORTH_COPYING, slot)
    assert len(cache) == 1


def test_a_few_tokens_are_not_worth_a_copy() -> None:
    cache = PrefixCache(3)
    slot = finished(cache, long(0))
    assert cache.place(of(*range(WORTH_COPYING - 1), 999, 999)) == Placement(slot + 1)
    assert (cache.hits, cache.reused_tokens) == (0, 0)


def test_another_adapter_or_scale_never_sees_the_prefix() -> None:
    cache = PrefixCache(4)
    finished(cache, of(1, 2, 3))
    for key in (OTHER, CacheKey(b"base", blend=b"adapter at half"), CacheKey(b"other base")):
        placement = cache.place(of(1, 2, 3, 4, key=key))
        assert placement is not None
        assert placement.reused == 0
    assert KEY.digest([1]) != OTHER.digest([1])


def test_the_last_token_is_computed_again_for_its_logits() -> None:
    cache = PrefixCache(2)
    finished(cache, long(0))
    placement = cache.place(long(0))
    assert placement is not None
    assert placement.reused == LONG - 1


def test_sequences_lie_side_by_side() -> None:
    cache = PrefixCache(4)
    slots = [cache.place(of(n, n)) for n in range(3)]
    assert [p.slot for p in slots if p] == [0, 1, 2]
    cache.release(1)
    placement = cache.place(of(9, 9))
    assert placement is not None
    assert placement.slot == 1


def test_what_leaves_a_slot_is_saved_and_comes_back() -> None:
    cache = PrefixCache(1, byte_limit=100)
    finished(cache, long(0))
    placement = cache.place(long(1000))
    assert placement is not None
    assert placement.source is None
    saved = placement.displaced
    assert isinstance(saved, Saved)
    assert saved.blob is None
    cache.save(saved, blob(10))
    cache.keep(placement.slot, long(1000))
    again = cache.place(of(*range(LONG), 5))
    assert again is not None
    assert (again.source, again.reused, cache.saved_bytes) == (saved, LONG, 10)


def test_the_tail_of_the_only_prefix_is_saved_before_another_one_goes_on_from_its_middle() -> None:
    cache = PrefixCache(1, byte_limit=100)
    slot = finished(cache, long(0))
    placement = cache.place(of(*range(LONG - 4), 7, 7))
    assert placement is not None
    assert (placement.slot, placement.source, placement.reused) == (slot, slot, LONG - 4)
    assert placement.displaced is not None


def test_saved_prefixes_hold_no_more_bytes_than_they_may() -> None:
    cache = PrefixCache(1, byte_limit=25)
    for n in range(5):
        finished(cache, long(n * 1000))
    assert (cache.saved_bytes, len(cache)) == (20, 3)
    assert cache.find(long(0)) == (None, 0)
    assert cache.find(long(3000))[1] == LONG - 1


def test_the_least_recently_used_saved_prefix_goes_first() -> None:
    cache = PrefixCache(1, byte_limit=20)
    for n in range(3):
        finished(cache, long(n * 1000))
    finished(cache, of(*range(LONG - 2), 9999))
    assert cache.find(long(0))[1] >= LONG - 2
    assert cache.find(long(1000)) == (None, 0)


def test_a_large_prefix_does_not_push_itself_in() -> None:
    cache = PrefixCache(1, byte_limit=20)
    finished(cache, long(0))
    placement = cache.place(long(1000))
    assert placement is not None
    assert placement.displaced is not None
    cache.save(placement.displaced, blob(1000))
    assert (cache.saved_bytes, len(cache)) == (0, 0)


def test_nothing_is_saved_without_leave_or_for_a_few_tokens() -> None:
    for cache, tokens in ((PrefixCache(1), LONG), (PrefixCache(1, 100), WORTH_COPYING - 1)):
        finished(cache, of(*range(tokens)))
        placement = cache.place(of(7777))
        assert placement == Placement(0)


def test_what_could_not_be_saved_is_forgotten() -> None:
    cache = PrefixCache(1, byte_limit=100)
    finished(cache, long(0))
    placement = cache.place(long(1000))
    assert placement is not None
    assert placement.displaced is not None
    cache.forget(placement.displaced)
    assert len(cache) == 0
    cache.save(placement.displaced, blob(10))
    assert cache.saved_bytes == 0


def test_idle_slots_are_evicted_in_order() -> None:
    cache = PrefixCache(2)
    slots = [finished(cache, of(n, n)) for n in (1, 2)]
    assert cache.evict() == (slots[0], None)
    assert cache.evict() == (slots[1], None)
    assert cache.evict() is None


def test_no_slot_no_placement() -> None:
    cache = PrefixCache(1)
    assert cache.place(of(1, 2)) is not None
    assert cache.place(of(1, 2)) is None


def test_what_a_longer_prefix_covers_is_not_kept_twice() -> None:
    cache = PrefixCache(4)
    slots = [p.slot for p in (cache.place(of(n)) for n in range(3)) if p]
    assert cache.keep(slots[0], of(1, 2)) == []
    assert cache.keep(slots[1], of(1, 2, 3)) == [slots[0]]
    assert cache.keep(slots[2], of(1, 2, 3)) == [slots[2]]
    assert len(cache) == 1


def test_a_longer_prefix_replaces_its_saved_beginning() -> None:
    cache = PrefixCache(1, byte_limit=100)
    finished(cache, long(0))
    finished(cache, long(1000))
    assert cache.saved_bytes == 10
    finished(cache, of(*range(LONG + 5)))
    assert cache.saved_bytes == 10, "the second one is saved, the first is covered"
    assert len(cache) == 2


@given(st.lists(st.integers(0, 2), max_size=40), st.lists(st.integers(0, 2), max_size=40))
def test_common_prefix_is_what_it_says(a: list[int], b: list[int]) -> None:
    expected = next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
    assert common_prefix(np.array(a, np.int32), np.array(b, np.int32)) == expected
