"""What people are shown of a record: each pair once, some twice, some that test them; never two of a kind."""

from pathlib import Path

from annotation.record import Record
from annotation.showing import to_show
from annotation.tasks import Judgement, Task, preferences, task_of
from rlhf.records import PreferenceRow
from tests.annotation.tasks import AT, question, said


def pairs(*numbers: int) -> list[Task]:
    answers = [(said(f"{n} yes"), said(f"{n} no")) for n in numbers]
    asked = [question(f"Number {n}?") for n in numbers]
    return [task_of("", asked[at], None, *answers[at], at=AT) for at in range(len(numbers))]


def correction(number: int) -> PreferenceRow:
    return PreferenceRow(
        pair_id=f"c{number}",
        prompt=question(f"Corrected {number}?"),
        chosen=said("right").messages,
        rejected=said("wrong").messages,
        source="correction",
        user="u",
        at=AT,
    )


def test_a_second_look_finds_the_same_tasks_and_what_is_new(tmp_path: Path) -> None:
    record = Record(tmp_path)
    record.add_tasks(pairs(*range(40)))
    record.set_direct(correction(n) for n in range(20))
    first = to_show(record, 0.25, 0.1)
    names = [task.task_id for task in first]
    assert len(set(names)) == len(names)
    assert to_show(record, 0.25, 0.1) == first
    assert len([task for task in first if task.gold and not task.again]) == 4
    assert 4 < len([task for task in first if task.again]) < 20
    record.add_tasks(pairs(*range(40, 60)))
    later = to_show(record, 0.25, 0.1)
    assert set(names) < {task.task_id for task in later}
    assert len([task for task in later if task.gold and not task.again]) == 6
    # Not in the order of their coming: a pair and its repetition would stand side by side.
    came = [task.task_id for task in record.tasks()]
    once = [task.task_id for task in later if not task.again]
    assert once != [name for name in came if name in once]


def test_a_task_with_a_known_answer_tests_and_teaches_nothing(tmp_path: Path) -> None:
    record = Record(tmp_path)
    record.add_tasks(pairs(1))
    record.set_direct([correction(1)])
    (test,) = [task for task in to_show(record, 0, 0.5) if task.gold]
    better = getattr(test, test.gold or "")
    assert better.messages[0].content == "right"
    assert (test.user, test.left_is_first) == ("u", test.left.messages[0].content == "right")
    verdict = Judgement(task_id=test.task_id, choice="left", annotator="a", at=AT)
    assert preferences(test, verdict) == []
    assert [row.pair_id for row in record.rows()] == ["c1"]


def test_what_is_judged_in_label_studio_is_not_shown_again(tmp_path: Path) -> None:
    record = Record(tmp_path)
    one, other = pairs(1, 2)
    record.add_tasks([one, other])
    record.set_judgements([Judgement(task_id=one.task_id, choice="tie", annotator="a", at=AT)])
    assert [task.task_id for task in to_show(record, 0, 0)] == [other.task_id]
