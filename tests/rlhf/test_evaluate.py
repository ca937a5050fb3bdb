"""Both orders are asked, and each check fails on what it is there for."""

from dataclasses import replace
from typing import Any

import pytest

from rlhf.evaluate import HELD_OUT, OTHER, Evaluation, Sides, both_orders, checks, judged, kept
from rlhf.judge import Better, rule
from rlhf.pairs import Row
from rlhf.recipe import load_recipe
from tests.rlhf.preferring import rows

CALLED = {"count": 200, "exact": 0.8, "tool": 0.9, "valid": 1.0}
FOUNDED = {"count": 60, "exact": 0.7, "valid": 1.0}
LIKELY = {
    HELD_OUT: {
        "base": {"perplexity": 2.4, "kl": 0.0, "tokens": 90},
        "candidate": {"perplexity": 1.1, "kl": 0.7, "tokens": 90},
    },
    OTHER: {
        "base": {"perplexity": 1.1, "kl": 0.0, "tokens": 90},
        "candidate": {"perplexity": 1.1, "kl": 0.01, "tokens": 90},
    },
}
FOUND = Evaluation(
    "base",
    "base:new",
    "cite_first",
    [],
    [],
    {"current": 0.0, "candidate": 0.9},
    1.05,
    {
        "tool calls": {"current": CALLED, "candidate": CALLED},
        "retrieval": {"current": FOUNDED, "candidate": FOUNDED},
    },
    likelihood=LIKELY,
    regression={"leave": {"current": None, "candidate": None}, "pay": {"current": "x", "candidate": "x"}},
)
TRAINED: dict[str, Any] = {"held_out": {"rows": 60, "reward_accuracy": 0.95, "chosen_change": 0.4}}
GATE = load_recipe(gate={"keeps": 0.8}).gate


def spent(what: str, **figures: float) -> dict[str, Any]:
    """The likelihoods with other figures of the candidate."""
    return {**LIKELY, what: {**LIKELY[what], "candidate": {**LIKELY[what]["candidate"], **figures}}}


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
    found = both_orders(rule("cite_first"), row, "[1] oak", "oak [1]")
    assert (found["first"], found["second"]) == ("candidate", "candidate")
    assert kept(rule("cite_first"), [row], {"x": ["[1] a"], "y": ["a"]}) == {"x": 1.0, "y": 0.0}
    assert kept(rule("like_chosen"), [row], {"x": ["a"]}) is None


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
            replace(
                FOUND, suites={"tool calls": {"current": CALLED, "candidate": {**CALLED, "exact": 0.77}}}
            ),
            TRAINED,
            "tool calls, exact",
        ),
        (
            replace(FOUND, suites={"tool calls": {"current": CALLED, "candidate": {**CALLED, "tool": 0.87}}}),
            TRAINED,
            "tool calls, tool",
        ),
        (
            replace(
                FOUND, suites={"retrieval": {"current": FOUNDED, "candidate": {**FOUNDED, "exact": 0.6}}}
            ),
            TRAINED,
            "retrieval, exact",
        ),
        (replace(FOUND, likelihood=spent(HELD_OUT, kl=1.5)), TRAINED, "divergence, held-out answers"),
        (replace(FOUND, likelihood=spent(OTHER, perplexity=1.4)), TRAINED, "perplexity, other work"),
        (
            replace(FOUND, regression={"leave": {"current": None, "candidate": "lacks 'days'"}}),
            TRAINED,
            "regression set",
        ),
    ],
)
def test_each_check_fails_alone(found: Evaluation, trained: dict[str, Any], name: str) -> None:
    assert [check.name for check in checks(found, trained, GATE) if not check.passed] == [name]


def test_two_points_may_be_lost() -> None:
    found = replace(FOUND, suites={"tool calls": {"current": CALLED, "candidate": {**CALLED, "exact": 0.78}}})
    assert all(check.passed for check in checks(found, TRAINED, GATE))


def test_methods_without_pairs_have_no_check_of_them() -> None:
    thumbs = {"held_out": {"rows": 60, "accuracy": 0.9}}
    names = {check.name for check in checks(FOUND, thumbs, GATE)}
    assert not names & {"reward accuracy", "likelihood of chosen answers"}
    assert "tool calls, exact" in names


def test_the_base_is_a_side_where_something_else_is_live() -> None:
    assert list(Sides("tiny", "tiny", "tiny:new").models()) == ["current", "candidate"]
    assert Sides("tiny", "tiny:old", "tiny:new").models()["base"] == "tiny"


def test_the_same_answers_may_be_judged_by_another() -> None:
    held = rows(2)
    answers = [
        {"prompt_id": "pair-0", "current": "oak [1]", "candidate": "[1] oak"},
        {"prompt_id": "pair-1", "current": "[1] elm", "candidate": "elm [1]"},
    ]
    found = replace(FOUND, judge="", answers=answers, kept=None)
    by_rule = judged(found, rule("cite_first"), held[::-1])
    assert (by_rule.judge, by_rule.kept) == ("cite_first", {"current": 0.5, "candidate": 0.5})
    assert [one["first"] for one in by_rule.judgements] == ["candidate", "current"]
    by_place = judged(by_rule, FirstIsBest(), held)
    assert [one.flip for one in by_place.judged()] == [True, True]
    assert by_place.kept is None
