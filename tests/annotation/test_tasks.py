"""Tasks are blind and reproducible, and a judgement becomes the same rows wherever it was given."""

from typing import Any

import pytest
from pydantic import ValidationError

from annotation.tasks import Answer, Task, preferences, task_of
from rlhf.records import Message, parse
from tests.annotation.tasks import AT, a_task, judged, question, said, side_of


def test_a_side_is_drawn_by_the_pairs_name_and_not_by_the_order_of_the_answers() -> None:
    for number in range(20):
        one, other = said("same 1"), said("same 2")
        first = task_of(f"p{number}", question("?"), None, one, other, at=AT)
        assert first == task_of(f"p{number}", question("?"), None, other, one, at=AT)


def test_either_side_gets_about_half_of_the_better_answers() -> None:
    left = sum(side_of(a_task(number), f"good {number}") == "left" for number in range(1000))
    # Four standard deviations of 1000 fair draws are 63.
    assert 437 <= left <= 563


def test_shown_again_the_sides_are_changed_and_the_pair_is_the_same() -> None:
    first, second = a_task(3), a_task(3, again=True)
    assert (first.left, first.right) == (second.right, second.left)
    assert first.task_id != second.task_id
    assert first.pair == second.pair != a_task(4).pair


def test_a_choice_gives_one_row_with_its_lineage() -> None:
    task = a_task()
    (row,) = preferences(task, judged(task, side_of(task, "good 0")))
    assert [m.content for m in row.chosen] == ["good 0"]
    assert [m.content for m in row.rejected] == ["bad 0"]
    assert row.chosen_trace is not None
    assert row.rejected_trace is not None
    assert (row.chosen_trace.trace_id, row.rejected_trace.generation_id) == ("t0", "u0-g")
    assert (row.source, row.weight, row.session, row.user, row.at) == ("choice", 1.0, "s", "u", AT)
    assert parse(row.line()) == row


def test_stars_go_with_their_answers_and_decide_nothing() -> None:
    task = a_task()
    good = side_of(task, "good 0")
    bad = "right" if good == "left" else "left"
    stars: dict[str, Any] = {f"{good}_stars": 2, f"{bad}_stars": 5}
    said = judged(task, good, correction="best", **stars)
    chosen, mended = preferences(task, said)
    assert (chosen.chosen_stars, chosen.rejected_stars) == (2, 5)
    assert (mended.chosen_stars, mended.rejected_stars) == (None, 2)  # nobody has rated the correction
    assert parse(chosen.line()) == chosen
    assert "chosen_stars" not in mended.plain()
    del stars[f"{good}_stars"]
    (one,) = preferences(task, judged(task, good, **stars))
    assert (one.chosen_stars, one.rejected_stars) == (None, 5)
    (none,) = preferences(task, judged(task, good))
    assert not [name for name in none.plain() if "stars" in name]
    assert preferences(task, judged(task, "tie", left_stars=3, right_stars=3)) == []


@pytest.mark.parametrize("stars", [0, 6, 2.5])
def test_there_are_one_to_five_stars(stars: float) -> None:
    with pytest.raises(ValidationError, match="left_stars"):
        judged(a_task(), "left", left_stars=stars)


@pytest.mark.parametrize("choice", ["tie", "both_bad"])
def test_ties_give_no_row(choice: str) -> None:
    assert preferences(a_task(), judged(a_task(), choice)) == []


def test_a_correction_is_preferred_to_the_answer_that_was_chosen() -> None:
    task = a_task()
    rows = preferences(task, judged(task, side_of(task, "good 0"), correction="best"))
    told = [(r.source, r.chosen[0].content, r.rejected[0].content, r.weight) for r in rows]
    assert told == [("choice", "good 0", "bad 0", 1.0), ("correction", "best", "good 0", 1.0)]
    assert rows[1].chosen_trace is None
    assert len({row.pair_id for row in rows}) == 2


def test_without_a_choice_a_correction_is_preferred_to_both_with_half_the_weight() -> None:
    rows = preferences(a_task(), judged(a_task(), "both_bad", correction="best"))
    assert {r.rejected[0].content for r in rows} == {"good 0", "bad 0"}
    assert [(r.source, r.weight) for r in rows] == [("correction", 0.5)] * 2


def test_a_correction_that_corrects_nothing_gives_no_row() -> None:
    task = a_task()
    assert len(preferences(task, judged(task, side_of(task, "good 0"), correction="good 0"))) == 1
    assert len(preferences(task, judged(task, "left", correction=" \n"))) == 1


def test_a_correction_keeps_the_tool_calls_that_came_before_it() -> None:
    calls = [Message(role="assistant", tool_calls=[{"id": "1"}]), Message(role="tool", content="2")]
    long = Answer(messages=[*calls, Message(role="assistant", content="two")])
    task = task_of("p", question("?"), "[]", long, said("three"), at=AT)
    row = preferences(task, judged(task, "left" if task.left == long else "right", correction="2."))[1]
    assert row.chosen == [*calls, Message(role="assistant", content="2.")]
    assert row.rejected == long.messages


def test_a_task_with_a_known_answer_trains_nobody() -> None:
    task = a_task(gold=True)
    assert task.gold == side_of(task, "good 0")
    assert preferences(task, judged(task, "left", correction="best")) == []


def test_a_judgement_on_another_task_is_refused() -> None:
    with pytest.raises(ValueError, match="pair-1"):
        preferences(a_task(0), judged(a_task(1), "left"))


def test_equal_answers_are_no_task_whoever_gave_them() -> None:
    with pytest.raises(ValidationError, match="the same"):
        task_of("p", question("?"), None, said("x", "t"), said("x", "u"))


def test_a_task_goes_through_json_unchanged() -> None:
    assert Task.model_validate(a_task(gold=True).plain()) == a_task(gold=True)
