"""The table of quality on judgements whose numbers are known."""

import json

import pytest

from annotation.quality import quality
from annotation.tasks import Judgement, Task
from tests.annotation.tasks import a_task, judged, side_of


def good(task: Task, number: int) -> str:
    return side_of(task, f"good {number}")


def bad(task: Task, number: int) -> str:
    return side_of(task, f"bad {number}")


def test_kappa_is_that_of_the_known_table() -> None:
    """20 both for one answer, 5 and 10 divided, 15 both for the other: kappa 0.4."""
    tasks = [a_task(number) for number in range(50)]
    judgements: list[Judgement] = []
    for number, task in enumerate(tasks):
        ann = good if number < 25 else bad
        bob = good if number < 20 or 25 <= number < 35 else bad
        judgements += [judged(task, ann(task, number)), judged(task, bob(task, number), "bob")]
    found = quality(tasks, judgements)
    assert found["agreement"]["kappa"] == pytest.approx(0.4)
    assert found["agreement"]["pairs_judged_by_several"] == 50
    assert found["judgements"] == 100


def test_people_who_prefer_the_same_answers_agree_whatever_the_sides() -> None:
    tasks = [a_task(number, again=number % 2 == 1) for number in range(6)]
    told = [judged(t, (good if n % 3 else bad)(t, n), who) for n, t in enumerate(tasks) for who in ("a", "b")]
    found = quality(tasks, told)["agreement"]
    assert (found["kappa"], found["alpha"]) == (1.0, 1.0)


def test_gold_accuracy_is_told_of_all_and_of_each() -> None:
    tasks = [a_task(number, gold=True) for number in range(4)]
    told = [judged(task, good(task, number), "sure") for number, task in enumerate(tasks)]
    told += [judged(tasks[0], good(tasks[0], 0), "half"), judged(tasks[1], bad(tasks[1], 1), "half")]
    told += [judged(tasks[2], "tie", "half")]
    found = quality(tasks, told)
    assert found["gold"] == {"judged": 7, "right": 5, "accuracy": pytest.approx(5 / 7)}
    assert found["annotators"]["sure"]["gold"]["accuracy"] == 1.0
    assert found["annotators"]["half"]["gold"]["accuracy"] == pytest.approx(1 / 3)


def test_somebody_who_always_says_left_is_found_out() -> None:
    tasks = [a_task(number) for number in range(10)] + [a_task(number, again=True) for number in range(10)]
    told = [judged(task, "left", "lazy", minutes=1) for task in tasks]
    told += [judged(task, good(task, at % 10), "careful") for at, task in enumerate(tasks)]
    found = quality(tasks, told)["annotators"]
    assert found["lazy"]["position"]["left_share"] == 1.0
    assert found["lazy"]["position"]["p_value"] < 1e-5
    assert found["lazy"]["flips"] == {"pairs": 10, "rate": 1.0}
    assert found["careful"]["flips"] == {"pairs": 10, "rate": 0.0}
    assert found["careful"]["position"]["left_share"] == 0.5


def test_the_newest_word_of_a_person_counts() -> None:
    task = a_task()
    told = [judged(task, "left", minutes=5), judged(task, "right", minutes=9), judged(task, "tie", minutes=1)]
    assert quality([task], told)["choices"] == {"right": 1}


def test_times_counts_and_unknown_tasks() -> None:
    tasks = [a_task(number) for number in range(3)]
    told = [
        judged(tasks[0], "left", seconds=4),
        judged(tasks[1], "tie", seconds=10),
        judged(a_task(9), "tie"),
    ]
    found = quality(tasks, told)
    assert (found["tasks"], found["judged"], found["of_unknown_tasks"]) == (3, 2, 1)
    assert found["median_seconds"] == 7
    assert found["annotators"]["ann"]["judgements"] == 2


def test_nothing_judged_is_no_error_and_everything_is_json() -> None:
    found = quality([a_task()], [])
    assert found["agreement"] == {"pairs_judged_by_several": 0, "kappa": None, "alpha": None}
    assert found["median_seconds"] is None
    json.dumps(quality([a_task()], [judged(a_task(), "left")]))
