"""Annotations of a real Label Studio become the rows that the same judgements give anywhere else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from annotation.errors import RecordError
from annotation.label_studio import LabelStudio
from annotation.pull import judgement_of, pull
from annotation.push import push
from annotation.quality import quality
from annotation.record import Record
from annotation.server import USER
from annotation.tasks import Judgement, Task, preferences
from rlhf.records import read_jsonl
from tests.annotation.conftest import Studio
from tests.annotation.tasks import a_task, judged

pytestmark = pytest.mark.timeout(600)
ANNOTATE = """
ids = {t.data["task_id"]: t.id for t in ls.tasks.list(project=int(sys.argv[1]), fields="all")}
made = [ls.annotations.create(id=ids[a.pop("task_id")], **a) for a in json.load(open(sys.argv[2]))]
print(json.dumps([one.id for one in made]))
"""
"""Annotates as programs of others do: with Label Studio's SDK."""


def results(choice: str | None, **texts: str) -> list[dict[str, Any]]:
    """As Label Studio's page sends them."""
    found: list[dict[str, Any]] = []
    if choice:
        found.append({"from_name": "verdict", "type": "choices", "value": {"choices": [choice]}})
    for name, text in texts.items():
        found.append({"from_name": name, "type": "textarea", "value": {"text": [text]}})
    return [{**entry, "to_name": "prompt"} for entry in found]


def stars(**given: int) -> list[dict[str, Any]]:
    """Of the answer on each side."""
    return [
        {"from_name": f"{side}_stars", "to_name": side, "type": "rating", "value": {"rating": count}}
        for side, count in given.items()
    ]


def annotate(server: Studio, project: int, folder: Path, *annotations: dict[str, Any]) -> None:
    """Each {"task_id", "result", ...}."""
    file = folder / "annotations.json"
    file.write_text(json.dumps(annotations))
    server.sdk(ANNOTATE, str(project), str(file))


def test_rows_are_byte_for_byte_those_of_the_same_judgements(
    server: Studio, studio: LabelStudio, tmp_path: Path, title: str
) -> None:
    tasks = [a_task(number) for number in range(5)]
    project = push(studio, Record(tmp_path), title, tasks).project
    reasons = {
        "from_name": "reasons",
        "to_name": "prompt",
        "type": "choices",
        "value": {"choices": ["clear"]},
    }
    annotate(
        server,
        project,
        tmp_path,
        {"task_id": "pair-0", "result": [*results("left", comment="Näher dran"), reasons], "lead_time": 4.5},
        {
            "task_id": "pair-1",
            "result": [*results("right", correction="So: <b>größer</b>"), *stars(left=2, right=5)],
        },
        {"task_id": "pair-2", "result": results("tie")},
        {"task_id": "pair-3", "result": results("both_bad", correction="Best")},
    )
    found = pull(studio, Record(tmp_path), title)
    assert (found.judgements, found.rows, found.unknown, found.unusable) == (4, 5, 0, ())
    pulled = {one.task_id: one for one in Record(tmp_path).judgements()}
    # As the console's page would have kept them at those moments.
    expected = []
    given: list[dict[str, Any]] = [{}, {"left_stars": 2, "right_stars": 5}, {}, {}]
    choices, corrections = ("left", "right", "tie", "both_bad"), (None, "So: <b>größer</b>", None, "Best")
    for task, choice, correction, more in zip(tasks, choices, corrections, given, strict=False):
        own = Judgement(
            task_id=task.task_id,
            choice=choice,  # type: ignore[arg-type]  # one of the four
            correction=correction,
            annotator="somebody",
            at=pulled[task.task_id].at,
            **more,
        )
        expected += preferences(task, own)
    lines = sorted(row.line() for row in expected)
    assert (tmp_path / "preferences.jsonl").read_text().splitlines() == lines
    assert '"chosen_stars": 5, "rejected_stars": 2' in "".join(lines)
    first = pulled["pair-0"]
    assert (first.reasons, first.comment, first.seconds) == (["clear"], "Näher dran", 4.5)
    assert first.annotator == USER
    table = quality(Record(tmp_path).tasks(), pulled.values())
    assert (table["tasks"], table["judged"], list(table["annotators"])) == (5, 4, [USER])


def test_a_pull_is_repeated_and_follows_changes_of_mind(
    server: Studio, studio: LabelStudio, tmp_path: Path, title: str
) -> None:
    project = push(studio, Record(tmp_path), title, [a_task(0), a_task(1)]).project
    annotate(
        server,
        project,
        tmp_path,
        {"task_id": "pair-0", "result": results("left")},
        {"task_id": "pair-1", "result": results("right")},
    )
    assert pull(studio, Record(tmp_path), title).rows == 2
    before = (tmp_path / "preferences.jsonl").read_bytes()
    pull(studio, Record(tmp_path), title)
    assert (tmp_path / "preferences.jsonl").read_bytes() == before
    found = {task["data"]["task_id"]: task["annotations"][0]["id"] for task in studio.annotated(project)}
    change = "ls.annotations.update(id=int(sys.argv[1]), result=json.loads(sys.argv[2])); print(1)"
    server.sdk(change, str(found["pair-0"]), json.dumps(results("tie")))
    server.sdk("ls.annotations.delete(id=int(sys.argv[1])); print(1)", str(found["pair-1"]))
    after = pull(studio, Record(tmp_path), title)
    assert (after.judgements, after.rows) == (1, 0)
    kept = (tmp_path / "withdrawn.jsonl").read_text()
    assert json.loads(kept)["task_id"] == "pair-1"


def test_skipped_and_empty_annotations_give_nothing_and_the_empty_ones_are_named(
    server: Studio, studio: LabelStudio, tmp_path: Path, title: str
) -> None:
    project = push(studio, Record(tmp_path), title, [a_task(0), a_task(1)]).project
    annotate(
        server,
        project,
        tmp_path,
        {"task_id": "pair-0", "result": results("left"), "was_cancelled": True},
        {"task_id": "pair-1", "result": results(None, comment="no idea")},
    )
    found = pull(studio, Record(tmp_path), title)
    assert (found.judgements, found.rows, len(found.unusable)) == (0, 0, 1)
    assert "has no verdict" in found.unusable[0]


def test_judgements_on_tasks_of_somebody_else_are_counted_and_kept(
    server: Studio, studio: LabelStudio, tmp_path: Path, title: str
) -> None:
    project = push(studio, Record(tmp_path / "theirs"), title, [a_task(0)]).project
    annotate(server, project, tmp_path, {"task_id": "pair-0", "result": results("left")})
    found = pull(studio, Record(tmp_path / "ours"), title)
    assert (found.judgements, found.rows, found.unknown) == (1, 0, 1)
    Record(tmp_path / "ours").add_tasks([a_task(0)])
    assert pull(studio, Record(tmp_path / "ours"), title).rows == 1


def plain(**given: Any) -> dict[str, Any]:
    result = [{"to_name": "x", **entry} for entry in given.pop("result")]
    return {
        "completed_by": 3,
        "updated_at": "2026-11-02T09:30:00.5Z",
        "lead_time": None,
        "result": result,
        **given,
    }


def test_a_click_on_a_pairwise_control_is_a_verdict_and_the_choice_outweighs_it() -> None:
    click = {"from_name": "pref", "type": "pairwise", "value": {"selected": "left"}}
    choice = {"from_name": "verdict", "type": "choices", "value": {"choices": ["right"]}}
    assert judgement_of("t", plain(result=[click]), {}).choice == "left"
    found = judgement_of("t", plain(result=[click, choice]), {})
    assert (found.choice, found.annotator, found.seconds) == ("right", "user 3", None)
    who = {"completed_by": {"id": 3, "email": "ann@example.org"}}
    assert judgement_of("t", plain(result=[click], **who), {}).annotator == "ann@example.org"
    with pytest.raises(ValueError, match="no verdict"):
        judgement_of("t", plain(result=[]), {})


def test_a_full_disk_loses_nothing(tmp_path: Path) -> None:
    task = a_task()
    record = Record(tmp_path / "record")
    record.add_tasks([task])
    record.set_judgements([judged(task, "left")])
    before = {path.name: path.read_bytes() for path in record.folder.glob("*.jsonl")}
    # A folder in the place of a file that is to be replaced: writing fails, whoever tries.
    (record.folder / "withdrawn.jsonl").mkdir()
    with pytest.raises(RecordError):
        record.set_judgements([])
    (record.folder / "withdrawn.jsonl").rmdir()
    assert {path.name: path.read_bytes() for path in record.folder.glob("*.jsonl")} == before
    assert [row.source for row in read_jsonl(record.folder / "preferences.jsonl")] == ["choice"]


def test_a_damaged_record_is_named_by_file_and_line(tmp_path: Path) -> None:
    record = Record(tmp_path)
    record.add_tasks([a_task(0)])
    with (tmp_path / "tasks.jsonl").open("a") as file:
        file.write('{"task_id": "x"}\n')
    with pytest.raises(RecordError, match=r"(?s)tasks\.jsonl.*line 2: prompt"):
        record.tasks()


def test_rows_keep_the_users_own_preferences(tmp_path: Path) -> None:
    record = Record(tmp_path)
    tasks: list[Task] = [a_task(0), a_task(1)]
    record.add_tasks(tasks)
    own = preferences(tasks[1], judged(tasks[1], "left"))
    assert (record.set_direct(own), record.set_direct(own)) == (1, 0)
    record.set_judgements([judged(tasks[0], "left")])
    assert len(record.rows()) == len(read_jsonl(tmp_path / "preferences.jsonl")) == 2
