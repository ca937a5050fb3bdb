"""What a call costs."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from graphs.prices import Price, Prices

PRICES = Prices(
    {
        "gpt-4o-mini": Price(input=0.15, output=0.6),
        "gpt-4o*": Price(input=2.5, output=10),
        "*": Price(input=1, output=1),
    }
)


@pytest.mark.parametrize(
    ("model", "total"), [("gpt-4o-mini", 0.45), ("gpt-4o-2024-08-06", 7.5), ("starter:citing@sha256:1a", 1.5)]
)
def test_the_exact_name_counts_before_patterns_and_those_in_their_order(model: str, total: float) -> None:
    cost = PRICES.cost(model, 1_000_000, 500_000)
    assert cost["total"] == pytest.approx(total)
    assert cost["total"] == cost["input"] + cost["output"]


def test_a_model_without_a_price_costs_nothing() -> None:
    assert Prices().cost("loopyard-starter", 1000, 1000) == {"input": 0, "output": 0, "total": 0}


@pytest.mark.parametrize(
    "price", [{"input": -1, "output": 1}, {"input": 1}, {"input": 1, "output": 1, "x": 1}]
)
def test_a_price_that_is_none_is_refused(price: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        Price.model_validate(price)
