"""Groups take turns: nobody starves, nobody waits for more than one turn of each of the others."""

from llm_server.engine.sequence import CacheKey
from llm_server.engine.turns import LARGE, Turns

A, B, C = (CacheKey(b"base", name) for name in (b"a", b"b", b"c"))


def serve(turns: Turns, groups: list[CacheKey], steps: int, tokens: int = 1) -> list[CacheKey]:
    order = []
    for _ in range(steps):
        key = turns.choose(groups)
        assert key is not None
        order.append(key)
        turns.charge(tokens)
    return order


def test_two_groups_get_equal_steps() -> None:
    order = serve(Turns(steps=4), [A, B], 40)
    assert order.count(A) == order.count(B) == 20


def test_a_turn_is_not_broken_up() -> None:
    order = serve(Turns(steps=4), [A, B], 8)
    assert len(set(order[:4])) == 1
    assert len(set(order[4:])) == 1
    assert order[0] != order[4]


def test_a_newcomer_waits_for_the_running_turn_only() -> None:
    turns = Turns(steps=4)
    serve(turns, [A, B], 17)
    assert C in serve(turns, [A, B, C], 4)


def test_a_large_prompt_is_a_turn_of_its_own() -> None:
    turns = Turns(steps=4)
    first = serve(turns, [A, B], 1, tokens=LARGE)[0]
    assert serve(turns, [A, B], 1)[0] != first


def test_a_group_that_has_left_gives_its_turn_up() -> None:
    turns = Turns(steps=4)
    first = serve(turns, [A, B], 1)[0]
    other = B if first is A else A
    assert serve(turns, [other], 1) == [other]


def test_nobody_waits_means_nobody_steps() -> None:
    assert Turns().choose([]) is None
