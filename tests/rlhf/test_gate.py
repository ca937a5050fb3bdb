"""The gate: how judgements merge, what the intervals are, and when each verdict is given."""

import random

import pytest

from rlhf.errors import BadJudgements
from rlhf.gate import Check, Choice, Decision, Judgement, cluster_bootstrap, decide, wilson

FINE = [Check("json", True, "all parse")]


def judged(wins: int, losses: int, ties: int = 0, flips: int = 0) -> list[Judgement]:
    """One judgement a prompt."""
    kinds: list[tuple[int, Choice, Choice]] = [
        (wins, "candidate", "candidate"),
        (losses, "current", "current"),
        (ties, "tie", "tie"),
        (flips, "candidate", "current"),
    ]
    both = [(first, second) for count, first, second in kinds for _ in range(count)]
    return [Judgement(f"p{i}", first, second) for i, (first, second) in enumerate(both)]


@pytest.mark.parametrize(
    ("first", "second", "merged", "flip"),
    [
        ("candidate", "candidate", "candidate", False),
        ("current", "current", "current", False),
        ("candidate", "current", "tie", True),
        ("current", "candidate", "tie", True),
        ("tie", "candidate", "tie", False),
        ("current", "tie", "tie", False),
        ("tie", "tie", "tie", False),
    ],
)
def test_only_what_both_orders_say_counts_and_a_flip_is_a_tie(
    first: Choice, second: Choice, merged: Choice, flip: bool
) -> None:
    judgement = Judgement("p", first, second)
    assert (judgement.merged, judgement.flip) == (merged, flip)


@pytest.mark.parametrize(
    ("wins", "total", "low", "high"),
    [
        (60, 100, 0.5020, 0.6906),
        # Newcombe, Statistics in Medicine 17 (1998), table I, method 3.
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_the_interval_is_wilsons(wins: int, total: int, low: float, high: float) -> None:
    assert list(wilson(wins, total)) == pytest.approx([low, high], abs=5e-5)


def test_the_interval_of_nothing_is_everything() -> None:
    assert wilson(0, 0) == (0.0, 1.0)


def test_what_is_proven_to_be_better_is_promoted() -> None:
    decision = decide(judged(60, 40, ties=7, flips=3), FINE)
    assert decision.verdict == "promote"
    assert (decision.wins, decision.losses, decision.ties, decision.flips) == (60, 40, 10, 3)
    assert decision.win_rate == 0.6
    assert decision.reasons[0] == "The candidate is better: the win rate is between 0.502 and 0.691."
    # 59 of 100 has the lower bound 0.492.
    assert decide(judged(59, 41), FINE).verdict == "reject"


def test_a_verdict_needs_enough_decisive_prompts() -> None:
    decision = decide(judged(49, 0, ties=100, flips=100), FINE)
    assert decision.verdict == "not enough data"
    assert decision.reasons == ("49 prompts with a decisive judgement, 50 are needed.",)
    assert decide(judged(50, 0), FINE).verdict == "promote"
    assert decide(judged(20, 0), FINE, minimum=20).verdict == "promote"
    nothing = decide([], FINE)
    assert (nothing.verdict, nothing.win_rate, nothing.low, nothing.high) == (
        "not enough data",
        None,
        0.0,
        1.0,
    )


def test_asking_about_the_same_prompt_again_is_no_new_data() -> None:
    again = [Judgement("p", "candidate", "candidate")] * 500
    assert decide(again, FINE).verdict == "not enough data"


def test_worse_and_unproven_are_both_rejected_for_their_reasons() -> None:
    assert "The candidate is worse" in decide(judged(40, 60), FINE).reasons[0]
    assert "100 prompts prove no improvement" in decide(judged(50, 50), FINE).reasons[0]


@pytest.mark.parametrize("judgements", [judged(1000, 0), judged(3, 0)])
def test_a_failed_check_rejects_whatever_the_judgements_say(judgements: list[Judgement]) -> None:
    checks = [*FINE, Check("tool calls", False, "3 of 40 are no JSON")]
    decision = decide(judgements, checks)
    assert decision.verdict == "reject"
    assert decision.reasons == ("The check 'tool calls' failed: 3 of 40 are no JSON",)
    assert decision.checks == tuple(checks)


def test_judgements_that_share_a_prompt_prove_less() -> None:
    """36 of 60 prompts, five judges each that agree: 180 of 300 would prove it, 36 of 60 does not."""
    agreeing = [Judgement(j.prompt_id, j.first, j.second) for j in judged(36, 24) for _ in range(5)]
    assert wilson(180, 300)[0] > 0.5
    clustered = decide(agreeing, FINE)
    assert clustered.verdict == "reject"
    # As wide as the interval of the 60 prompts, but for the draw.
    assert clustered.low == pytest.approx(wilson(36, 60)[0], abs=0.02)
    assert clustered.high == pytest.approx(wilson(36, 60)[1], abs=0.02)


def test_the_order_of_the_judgements_does_not_matter() -> None:
    agreeing = [Judgement(j.prompt_id, j.first, j.second) for j in judged(36, 24) for _ in range(2)]
    shuffled = random.Random(1).sample(agreeing, len(agreeing))
    assert decide(agreeing, FINE) == decide(shuffled, FINE)


def test_the_bootstrap_of_single_observations_is_near_wilson() -> None:
    low, high = cluster_bootstrap([(1, 0)] * 60 + [(0, 1)] * 40)
    assert [low, high] == pytest.approx([0.502, 0.691], abs=0.02)


def test_what_makes_no_sense_is_refused() -> None:
    with pytest.raises(BadJudgements, match="not 'left'"):
        decide([Judgement("p", "left", "tie")], FINE)  # type: ignore[arg-type]
    for wrong in ({"minimum": 0}, {"confidence": 1.0}):
        with pytest.raises(BadJudgements, match="minimum"):
            decide([], FINE, **wrong)


def test_a_decision_is_a_value() -> None:
    assert isinstance(decide(judged(1, 1), []), Decision)
    assert decide(judged(1, 1), []) == decide(judged(1, 1), [])
