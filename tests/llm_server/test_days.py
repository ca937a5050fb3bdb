"""A call that needs two days is offered where two were named."""

from typing import Any

import pytest

from llm_server.constraints.days import with_days


def function(name: str, *required: str) -> dict[str, Any]:
    properties = {one: {"type": "string"} for one in required}
    return {
        "name": name,
        "parameters": {"type": "object", "properties": properties, "required": list(required)},
    }


ONE = function("find_ferry", "origin", "departure_date", "number_of_days")
TWO = function("find_return_ferry", "origin", "departure_date", "return_date")
CAMEL = function("FindReturn", "departureDate", "returnDay")


@pytest.mark.parametrize(
    "texts",
    [
        ["A ferry on March 5th, please"],
        ["on the 5th", "yes, the 5th"],
        ["a ferry, please"],
        ["on Thursday next week"],
        ["next Thursday", "at half past 12, for two people, in 3 rooms"],
    ],
)
def test_one_day_is_not_enough_for_two(texts: list[str]) -> None:
    assert with_days([ONE, TWO, CAMEL], texts) == [ONE]


@pytest.mark.parametrize(
    "texts",
    [
        ["from March 5th until the 9th"],
        ["tomorrow", '{"free": "2024-05-01"}'],
        ["5 May", "back on Sunday"],
        ["the first, for three days"],
        ["tomorrow, and back next week"],
        ["on Friday", "a week"],
        ["12/3 to 14.3"],
    ],
)
def test_two_days_are(texts: list[str]) -> None:
    assert with_days([ONE, TWO, CAMEL], texts) == [ONE, TWO, CAMEL]


def test_what_is_left_alone_stays() -> None:
    assert with_days([TWO], ["a ferry"]) == [TWO]
    assert with_days([{"name": "bare"}], []) == [{"name": "bare"}]
