"""Who computes next."""

import pytest

from llm_server.engine.pace import ALONE, BESIDE, FIRST, LEAST, Pace
from llm_server.engine.prefix_cache import Placement, PrefixCache
from llm_server.engine.sampling import SamplingParams
from llm_server.engine.scheduler import WORTH_WAITING, Plan, Scheduler
from llm_server.engine.sequence import CacheKey, Sequence

KEY = CacheKey(b"base")


def sequence(tokens: list[int], key: CacheKey = KEY) -> Sequence:
    return Sequence(tokens, SamplingParams(), key, lambda event: None, max_tokens=10)


def scheduler(running: int = 4, budget: int = 32, slots: int = 8) -> Scheduler:
    return Scheduler(PrefixCache(slots), running=running, budget=budget)


def compute(plan: Plan) -> None:
    """What the engine does with a plan, without an engine: every wanted output is token 7."""
    for work in plan.work:
        wanted = work.wanted
        work.sequence.computed += work.count
        if wanted:
            work.sequence.tokens.append(7)


def test_a_long_prompt_delays_others_by_one_chunk_only() -> None:
    s = scheduler(budget=32)
    short = sequence([1, 2, 3])
    s.add(short)
    compute(s.schedule())
    s.add(sequence(list(range(100, 300))))
    plan = s.schedule()
    assert [(work.sequence is short, work.count) for work in plan.work] == [(True, 1), (False, 31)]


def test_a_chunk_is_as_long_as_a_pause_may_be() -> None:
    pace = Pace()
    s = Scheduler(PrefixCache(4), running=4, budget=512, pace=pace)
    long = sequence(list(range(1000)))
    s.add(long)
    assert s.schedule().work[0].count == FIRST
    pace.learn(100, 1.0)
    assert s.schedule().work[0].count == int(ALONE / 0.01)
    s.finish(long)
    s.add(sequence([1, 2, 3]))
    compute(s.schedule())
    s.add(long)
    assert [work.count for work in s.schedule().work] == [1, LEAST], "15 tokens are too few at a time"
    for _ in range(30):
        pace.learn(100, 0.1)
    assert [work.count for work in s.schedule().work] == [1, pytest.approx(BESIDE / 0.001, abs=1)]


def test_prompts_share_the_budget_oldest_first() -> None:
    s = scheduler(budget=32)
    first, second = sequence(list(range(20))), sequence(list(range(50, 90)))
    s.add(first)
    s.add(second)
    plan = s.schedule()
    assert [(w.sequence, w.count, w.wanted) for w in plan.work] == [(first, 20, True), (second, 12, False)]


def test_no_more_run_than_allowed() -> None:
    s = scheduler(running=2)
    for n in range(4):
        s.add(sequence([n, n, n]))
    s.schedule()
    assert (len(s.running), len(s.waiting)) == (2, 2)


def test_one_waits_for_a_prefix_that_is_being_computed_and_then_shares_it() -> None:
    s = scheduler(budget=64)
    common = list(range(200))
    first, second = sequence([*common, 1]), sequence([*common, 2])
    s.add(first)
    s.schedule()
    s.add(second)
    compute(s.schedule())
    for _ in range(4):
        plan = s.schedule()
        compute(plan)
        if second in s.running:
            break
    assert second.reused >= 200 - WORTH_WAITING
    assert second.slot is not None
    assert plan.placed == [(second, Placement(second.slot, second.reused, first.slot))]


def test_a_preempted_sequence_goes_first_and_starts_over() -> None:
    s = scheduler()
    first, second = sequence([1, 2]), sequence([3, 4])
    s.add(first)
    s.add(second)
    compute(s.schedule())
    slot = second.slot
    assert s.preempt() == (slot, None)
    assert (second.computed, second.slot, list(s.waiting)) == (0, None, [second])
    assert s.preempt() is None


def test_a_finished_sequence_is_a_prefix_for_the_next_turn() -> None:
    s = scheduler()
    first = sequence([1, 2, 3])
    s.add(first)
    compute(s.schedule())
    s.finish(first)
    second = sequence([1, 2, 3, 7, 8])
    s.add(second)
    s.schedule()
    assert second.reused == 3
