"""Synthetic rows: in the manner of those to train on, unlike all that are there, and never held out."""

import re
from collections import Counter

from rlhf.data.asking import Request
from rlhf.data.step import Sides
from rlhf.data.synthesise import Synthesise
from rlhf.shapes import AnyRow, LabelRow, SftRow, TripletRow
from tests.rlhf.data.writing import Scripted


def answer(at: int) -> SftRow:
    asked = f"please explain how machine{at} in hall{at} is switched on safely"
    said = f"Press button {at} and wait until lamp {at} is green."
    return SftRow.model_validate(
        {
            "prompt": [{"role": "user", "content": asked}],
            "completion": [{"role": "assistant", "content": said}],
            "session": f"s{at}",
        }
    )


def number(request: Request) -> int:
    found = re.search(r"machine(\d+)", request.text)
    assert found
    return int(found[1])


def test_new_answers_are_kept_where_they_are_new_and_good() -> None:
    train: list[AnyRow] = [answer(at) for at in range(6)]
    held: list[AnyRow] = [answer(7)]
    own = {
        0: {"request": "what is done when pump A loses pressure at night", "answer": "Close valve A first."},
        1: {"request": "please explain how machine2 in hall2 is switched on safely", "answer": "Press it."},
        2: {"request": "please explain how machine7 in hall7 is switched on safely", "answer": "Press it."},
        3: {"request": "what is done when pump A loses pressure at night?", "answer": "Close it."},
        4: {"request": "say it", "answer": "line after line " * 60},
    }
    model = Scripted(lambda request: own.get(number(request)))
    counts: Counter[str] = Counter()
    sides, by = Synthesise(weight=0.5).apply(Sides(train, held), model.means(), counts)
    assert by == "scripted"
    assert sides.held_out == held
    [made] = sides.train[6:]
    assert isinstance(made, SftRow)
    assert made.prompt[0].content in (own[0]["request"], own[3]["request"])
    assert made.made is not None
    assert made.made.of in (train[0].row_id, train[3].row_id)  # type: ignore[union-attr]  # answers
    assert (made.source, made.weight, made.made.by) == ("synthetic", 0.5, "scripted")
    assert counts["made"] == 1
    assert counts["not understood"] == 1  # the sixth
    assert counts["poor"] == 1
    assert counts["near a row that is there"] == 1
    assert counts["near a held-out row"] == 1
    assert counts["near another one"] == 1


def test_a_model_sees_training_rows_only_as_data_and_with_its_own_seed() -> None:
    train: list[AnyRow] = [answer(at) for at in range(5)]
    model = Scripted(lambda request: None)
    Synthesise(each=2, rows=3).apply(Sides(train, [answer(9)]), model.means(4), Counter())
    assert len(model.asked) == 6
    assert len({request.seed for request in model.asked}) == 6
    for request in model.asked:
        assert request.text.count("<text>") == 3
        assert "machine9" not in request.text
    again = Scripted(lambda request: None)
    Synthesise(each=2, rows=3).apply(Sides(train, [answer(9)]), again.means(4), Counter())
    assert again.asked == model.asked


def test_labels_and_passages_stay_with_what_is_written() -> None:
    labels: list[AnyRow] = [
        LabelRow(text=f"where is office{at} of town{at}", label="place") for at in range(3)
    ]
    model = Scripted(lambda request: {"text": f"which street is {request.seed} on, and which house"})
    sides, _ = Synthesise().apply(Sides(labels, []), model.means(), Counter())
    assert len(sides.train) > 3
    assert {one.label for one in sides.train if isinstance(one, LabelRow)} == {"place"}
    passage = "People get 30 days off a year."
    triplets: list[AnyRow] = [TripletRow(query="how much leave is there", positive=passage, negative="No.")]
    asks = Scripted(lambda request: {"question": "how many days off can I take?"})
    sides, _ = Synthesise().apply(Sides(triplets, []), asks.means(), Counter())
    new = sides.train[1]
    assert isinstance(new, TripletRow)
    assert (new.query, new.positive, new.negative) == ("how many days off can I take?", passage, "No.")
