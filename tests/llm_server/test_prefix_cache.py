"""Prefixes are found, shared, and forgotten in order."""

from hypothesis import given
from hypothesis import strategies as st

from llm_server.engine.prefix_cache import Placement, Prefix, PrefixCache, common_prefix
from llm_server.engine.sequence import CacheKey

KEY = CacheKey(b"base")
OTHER = CacheKey(b"base", blend=b"adapter")


def test_a_longer_conversation_continues_in_the_same_slot() -> None:
    cache = PrefixCache(2)
    cache.keep(Prefix(cache.place(KEY, [1, 2, 3]).slot, KEY, [1, 2, 3]))  # type: ignore[union-attr]  # there is room
    placement = cache.place(KEY, [1, 2, 3, 4, 5])
    assert placement is not None
    assert (placement.reused, placement.source) == (3, placement.slot)
    assert cache.hits == 1
    assert cache.reused_tokens == 3


def test_a_prefix_that_others_may_want_is_shared_and_stays() -> None:
    cache = PrefixCache(3)
    first = cache.place(KEY, [1, 2, 3, 4])
    assert first is not None
    cache.keep(Prefix(first.slot, KEY, [1, 2, 3, 4]))
    second = cache.place(KEY, [1, 2, 9, 9])
    assert second is not None
    assert second.slot != first.slot
    assert second == Placement(second.slot, 2, first.slot)
    assert len(cache) == 1


def test_another_adapter_or_scale_never_sees_the_prefix() -> None:
    cache = PrefixCache(4)
    cache.keep(Prefix(0, KEY, [1, 2, 3]))
    for key in (OTHER, CacheKey(b"base", blend=b"adapter at half"), CacheKey(b"other base")):
        placement = cache.place(key, [1, 2, 3, 4])
        assert placement is not None
        assert placement.reused == 0
    assert KEY.digest([1]) != OTHER.digest([1])


def test_the_last_token_is_computed_again_for_its_logits() -> None:
    cache = PrefixCache(2)
    cache.keep(Prefix(1, KEY, [1, 2, 3]))
    placement = cache.place(KEY, [1, 2, 3])
    assert placement is not None
    assert placement.reused == 2


def test_the_least_recently_used_prefix_goes_first() -> None:
    cache = PrefixCache(2)
    slots = [cache.place(KEY, [n, n]).slot for n in (1, 2)]  # type: ignore[union-attr]  # there is room
    for n, slot in enumerate(slots, 1):
        cache.keep(Prefix(slot, KEY, [n, n]))
    assert cache.evict() == slots[0]
    assert cache.evict() == slots[1]
    assert cache.evict() is None


def test_cached_prefixes_hold_no_more_than_they_may() -> None:
    cache = PrefixCache(8, tokens=6)
    assert cache.keep(Prefix(0, KEY, [1, 1, 1])) == []
    assert cache.keep(Prefix(1, KEY, [2, 2, 2])) == []
    assert cache.keep(Prefix(2, KEY, [3, 3, 3])) == [0]
    assert cache.keep(Prefix(3, KEY, list(range(20)))) == [1, 2]
    assert len(cache) == 1


def test_no_slot_no_placement() -> None:
    cache = PrefixCache(1)
    assert cache.place(KEY, [1, 2]) is not None
    assert cache.place(KEY, [1, 2]) is None


def test_what_a_longer_prefix_covers_is_not_kept_twice() -> None:
    cache = PrefixCache(4)
    assert cache.keep(Prefix(0, KEY, [1, 2])) == []
    assert cache.keep(Prefix(1, KEY, [1, 2, 3])) == [0]
    assert cache.keep(Prefix(2, KEY, [1, 2, 3])) == [2]
    assert len(cache) == 1


@given(st.lists(st.integers(0, 2), max_size=40), st.lists(st.integers(0, 2), max_size=40))
def test_common_prefix_is_what_it_says(a: list[int], b: list[int]) -> None:
    expected = next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
    assert common_prefix(a, b) == expected
