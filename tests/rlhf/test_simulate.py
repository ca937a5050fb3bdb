"""The gate on 2,000 evaluations of which the truth is known. These are its pass lines."""

import json
from math import comb

import pytest

from rlhf.errors import BadJudgements
from rlhf.gate import wilson
from rlhf.simulate import Truth, simulate
from tests.rlhf.test_cli import rlhf

RUNS = 2000


def share(truth: Truth, verdict: str = "promote", seed: int = 1) -> float:
    """How often a verdict comes."""
    return next(rate.share for rate in simulate(truth, RUNS, seed) if rate.verdict == verdict)


@pytest.mark.parametrize("pairs", [60, 200])
@pytest.mark.parametrize("bias", [0.0, 0.35])
def test_the_same_adapter_again_is_promoted_in_at_most_5_percent(pairs: int, bias: float) -> None:
    assert share(Truth(0.5, pairs, tie_rate=0.3, position_bias=bias)) <= 0.05


@pytest.mark.parametrize("bias", [0.0, 0.35])
def test_a_true_60_to_40_is_promoted_in_at_least_80_percent(bias: float) -> None:
    assert share(Truth(0.6, 200, position_bias=bias)) >= 0.8


def test_a_planted_regression_is_never_promoted() -> None:
    rates = simulate(Truth(0.9, 200, broken=True), RUNS, seed=1)
    assert {rate.verdict: rate.runs for rate in rates} == {
        "promote": 0,
        "reject": RUNS,
        "not enough data": 0,
    }


def test_too_few_pairs_prove_nothing_however_good() -> None:
    assert share(Truth(1.0, 49), "not enough data") == 1.0


def test_the_rate_is_the_one_that_the_binomial_gives() -> None:
    """What 200 fair or unfair coins give is known exactly; the simulation has to agree."""
    for truth in (0.5, 0.6):
        winning = [wins for wins in range(201) if wilson(wins, 200)[0] > 0.5]
        exact = sum(comb(200, w) * truth**w * (1 - truth) ** (200 - w) for w in winning)
        assert share(Truth(truth, 200)) == pytest.approx(exact, abs=0.03)


def test_the_same_seed_gives_the_same_rates() -> None:
    truth = Truth(0.55, 60, position_bias=0.2)
    assert simulate(truth, 100, 7) == simulate(truth, 100, 7)
    assert simulate(truth, 100, 7) != simulate(truth, 100, 8)


def test_shares_that_would_never_end_are_refused() -> None:
    for wrong in ({"tie_rate": 1.0}, {"position_bias": 1.0}, {"win_rate": 2.0}):
        with pytest.raises(BadJudgements):
            Truth(**{"win_rate": 0.5, "decisive_pairs": 10, **wrong})  # type: ignore[arg-type]


def test_the_command_prints_a_table_or_json() -> None:
    options = ("--runs", "50", "--win-rate", "0.6", "--decisive-pairs", "200", "--seed", "1")
    table = rlhf("gate-simulate", *options)
    assert table.returncode == 0
    for word in ("promote", "reject", "not enough data", "%"):
        assert word in table.stdout
    found = json.loads(rlhf("gate-simulate", *options, "--json").stdout)
    assert found["truth"]["win_rate"] == 0.6
    assert sum(verdict["runs"] for verdict in found["verdicts"]) == 50
