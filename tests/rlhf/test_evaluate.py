"""Both orders are asked, and each check fails on what it is there for."""

from dataclasses import replace
from typing import Any

import pytest

from rlhf.evaluate import Evaluation, both_orders, checks, kept, overall, tool_cases
from rlhf.judge import Better, judge_named
from rlhf.pairs import Row
from rlhf.recipe import load_recipe
from tests.rlhf.preferring import rows

CALLS = {"count": 200, "exact": 0.8, "tool": 0.9, "valid": 1.0}
FOUND = Evaluation(
    "base",
    "base:new",
    "cite_first",
    [],
    [],
    {"current": 0.0, "candidate": 0.9},
    1.05,
    {"current": dict(CALLS), "candidate": dict(CALLS)},
)
TRAINED: dict[str, Any] = {"held_out": {"rows": 60, "reward_accuracy": 0.95, "chosen_change": 0.4}}
GATE = load_recipe(gate={"keeps": 0.8}).gate


class FirstIsBest:
    """A judge that only looks at the place."""

    name = "first"

    def compare(self, row: Row, first: str, second: str) -> Better:
        """Always the first."""
        return "first"


def test_a_judge_of_places_flips() -> None:
    [row] = rows(1)
    assert both_orders(FirstIsBest(), row, "a", "b") == {
        "prompt_id": "pair-0",
        "first": "candidate",
        "second": "current",
    }


def test_a_rule_says_the_same_twice() -> None:
    [row] = rows(1)
    found = both_orders(judge_named("cite_first"), row, "[1] oak", "oak [1]")
    assert (found["first"], found["second"]) == ("candidate", "candidate")
    assert kept(judge_named("cite_first"), [row], {"x": ["[1] a"], "y": ["a"]}) == {"x": 1.0, "y": 0.0}
    assert kept(judge_named("like_chosen"), [row], {"x": ["a"]}) is None


def test_all_checks_pass_where_nothing_is_lost() -> None:
    assert all(check.passed for check in checks(FOUND, TRAINED, GATE))


@pytest.mark.parametrize(
    ("found", "trained", "name"),
    [
        (replace(FOUND, length_ratio=2.5), TRAINED, "length"),
        (replace(FOUND, kept={"current": 0.0, "candidate": 0.7}), TRAINED, "rule kept"),
        (FOUND, {"held_out": {**TRAINED["held_out"], "reward_accuracy": 0.5}}, "reward accuracy"),
        (FOUND, {"held_out": {**TRAINED["held_out"], "chosen_change": -0.5}}, "likelihood of chosen answers"),
        (
            replace(FOUND, tool_calls={"current": CALLS, "candidate": {**CALLS, "exact": 0.77}}),
            TRAINED,
            "tool calls, exact",
        ),
        (
            replace(FOUND, tool_calls={"current": CALLS, "candidate": {**CALLS, "tool": 0.87}}),
            TRAINED,
            "tool calls, tool",
        ),
    ],
)
def test_each_check_fails_alone(found: Evaluation, trained: dict[str, Any], name: str) -> None:
    assert [check.name for check in checks(found, trained, GATE) if not check.passed] == [name]


def test_two_points_may_be_lost() -> None:
    found = replace(FOUND, tool_calls={"current": CALLS, "candidate": {**CALLS, "exact": 0.78}})
    assert all(check.passed for check in checks(found, TRAINED, GATE))


def test_the_examination_of_calls_needs_no_corpus() -> None:
    cases = tool_cases(10, 3)
    assert {case.kind for case in cases} >= {"hand-written sentences", "no tool needed"}
    assert [case.messages for case in cases] == [case.messages for case in tool_cases(10, 3)]
    assert [case.messages for case in cases] != [case.messages for case in tool_cases(10, 4)]
    assert tool_cases(0, 3) == []


def test_all_kinds_together_weigh_by_their_cases() -> None:
    talk = {"count": 30, "valid": 1.0, "exact": 1.0}
    called = {"count": 10, "valid": 0.5, "exact": 0.2, "tool": 0.4}
    assert overall({"talk": talk, "own": called}) == {"count": 40, "exact": 0.8, "tool": 0.4, "valid": 0.875}
    assert overall({}) == {"count": 0}
