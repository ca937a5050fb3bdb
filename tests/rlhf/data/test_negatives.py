"""Hard negatives: near the query, no answer to it, and of the same side."""

from collections import Counter
from typing import Any

from rlhf.data.negatives import Negatives
from rlhf.data.step import Sides
from rlhf.shapes import AnyRow, TripletRow
from tests.rlhf.data.writing import WITHOUT

SICK = "Sick leave: employees accrue 4 hours of sick leave every pay period."
ANNUAL = "Annual leave: employees accrue 6 hours of annual leave every pay period."
PARENTS = "Parents get 12 weeks of leave after a birth."
CARS = "Cars are parked behind the house."


def triplet(query: str, positive: str, **more: Any) -> TripletRow:
    return TripletRow.model_validate({"query": query, "positive": positive, **more})


def mined(train: list[AnyRow], held: list[AnyRow]) -> tuple[list[TripletRow], list[TripletRow], Counter[str]]:
    counts: Counter[str] = Counter()
    sides, _ = Negatives().apply(Sides(train, held), WITHOUT, counts)
    found = [[row for row in side if isinstance(row, TripletRow)] for side in (sides.train, sides.held_out)]
    return found[0], found[1], counts


def test_the_nearest_text_that_is_no_answer_is_taken() -> None:
    train: list[AnyRow] = [
        triplet("how much sick leave do employees accrue", SICK),
        triplet("how much annual leave", ANNUAL),
        triplet("where are cars parked", CARS, negative="In the lake."),
    ]
    rows, _, counts = mined(train, [])
    assert [row.negative for row in rows] == [ANNUAL, SICK, "In the lake."]
    assert counts == Counter({"rows": 3, "mined": 2, "there before": 1})


def test_a_held_out_text_is_no_negative_of_a_training_row() -> None:
    train: list[AnyRow] = [triplet("how much sick leave", SICK), triplet("leave for parents", PARENTS)]
    held: list[AnyRow] = [triplet("how much annual leave", ANNUAL)]
    rows, kept, counts = mined(train, held)
    assert {row.negative for row in rows} == {SICK, PARENTS}
    assert kept[0].negative is None
    assert counts["without a negative"] == 1


def test_answers_to_the_same_query_and_of_the_same_section_are_none() -> None:
    place = {"document": "d", "name": "a.md", "section": "Leave", "chunk": 0}
    train: list[AnyRow] = [
        triplet("how much leave", SICK, passage=place),
        triplet("what leave do parents get", PARENTS, passage={**place, "chunk": 1}),
        triplet("how much leave", ANNUAL),
        triplet("may cars be left during leave", CARS),
    ]
    rows, _, _ = mined(train, [])
    assert rows[0].negative is None  # every other text with its words may answer
    assert rows[1].negative == ANNUAL
    assert rows[2].negative == PARENTS
