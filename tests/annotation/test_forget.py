"""A forgotten user's tasks are in no record and in no Label Studio, whenever that can be reached."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pydantic import SecretStr

from annotation.forget import Forgotten, forget
from annotation.label_studio import LabelStudio
from annotation.places import Places
from annotation.pull import pull
from annotation.push import push, repeated
from annotation.record import Record
from annotation.settings import Settings
from annotation.tasks import Task
from rlhf.records import PreferenceRow, Trace
from tests.annotation.conftest import Studio
from tests.annotation.tasks import a_task, judged
from tests.annotation.test_pull import annotate, results

pytestmark = pytest.mark.timeout(600)
NOBODY = frozenset[str]()
DEAD = "http://127.0.0.1:9"


def places(data: Path, url: str = DEAD, token: str = "a-token") -> Places:
    given = Settings.model_construct(label_studio_url=url, label_studio_token=SecretStr(token))
    return Places(data, given)


def tasks() -> list[Task]:
    """Of ada two, one of them shown twice, and one of bo."""
    mine = [a_task(n).model_copy(update={"user": "ada"}) for n in (1, 2)]
    return [*repeated(mine[:1], 1.0), mine[1], a_task(3).model_copy(update={"user": "bo"})]


def direct(user: str, **more: object) -> PreferenceRow:
    said = {"prompt": [{"role": "user", "content": f"{user} asks"}], "user": user, "pair_id": f"d-{user}"}
    answers = {
        name: [{"role": "assistant", "content": f"{name} for {user}"}] for name in ("chosen", "rejected")
    }
    return PreferenceRow.model_validate({**said, **answers, **more})


def filled(record: Record) -> None:
    with record.alone():
        record.add_tasks(tasks())
        record.set_direct([direct("ada"), direct("bo")])
        said = [judged(task, "left", comment=f"on {task.task_id}") for task in tasks()]
        record.set_judgements(said)
        record.set_judgements(said[1:])  # one was withdrawn


def text(folder: Path) -> str:
    return "".join(file.read_text() for file in sorted(folder.rglob("*")) if file.is_file())


def counts(done: Forgotten) -> tuple[int, int, int, int]:
    return done.tasks, done.judgements, done.rows, done.studio


def test_a_record_forgets_at_once_and_label_studio_when_it_is_there(tmp_path: Path) -> None:
    record = places(tmp_path).record("demo")
    filled(record)
    (record.folder / ".tasks.jsonl.torn").write_text("ada asks")
    assert "ada asks" in text(record.folder)
    done = forget(places(tmp_path), "ada", NOBODY)
    assert counts(done) == (3, 3, 1, 0)
    (left,) = done.missed
    assert left.what == "Label Studio's tasks of demo"
    assert DEAD in left.why
    assert left.remedy.endswith("Then run the erasure again.")
    said = text(record.folder)
    assert not [word for word in ("ada", "Question 1", "Question 2", "on pair-1") if word in said]
    assert "Question 3" in said
    assert [row.user for row in record.rows()] == ["bo", "bo"]
    assert record.leaving() == {"pair-1", "pair-1-again", "pair-2"}
    again = forget(places(tmp_path), "ada", NOBODY)
    assert (counts(again), len(again.missed)) == ((0, 0, 0, 0), 1)
    # What Label Studio still has does not come back by a push or a pull.
    with record.alone():
        record.add_tasks(tasks())
        record.set_judgements([judged(task, "left", comment="again") for task in tasks()])
    assert [task.task_id for task in record.tasks()] == ["pair-3"]
    assert [one.task_id for one in record.judgements()] == ["pair-3"]


def test_a_task_with_another_users_name_and_an_answer_of_theirs_goes_too(tmp_path: Path) -> None:
    record = places(tmp_path).record("demo")
    trace = Trace(trace_id="x" * 32, generation_id="g", model="m")
    with record.alone():
        record.add_tasks([a_task(1), a_task(2)])
        record.set_direct([direct("bo", chosen_trace=trace)])
    done = forget(places(tmp_path), "ada", frozenset({"u2", "x" * 32}))
    assert counts(done)[:3] == (1, 0, 1)
    assert [task.task_id for task in record.tasks()] == ["pair-1"]
    assert record.direct() == []


def test_a_user_of_whom_nothing_is_known_changes_nothing(tmp_path: Path) -> None:
    record = places(tmp_path).record("demo")
    filled(record)
    before = text(record.folder)
    done = forget(places(tmp_path), "nobody", NOBODY)
    assert (counts(done), done.missed) == ((0, 0, 0, 0), [])
    assert text(record.folder) == before


def test_a_damaged_record_is_told_and_others_are_done(tmp_path: Path) -> None:
    for name in ("broken", "demo"):
        filled(places(tmp_path).record(name))
    (tmp_path / "annotation" / "broken" / "tasks.jsonl").write_text("nonsense\n")
    done = forget(places(tmp_path), "ada", NOBODY)
    assert counts(done)[0] == 3
    assert [one.what for one in done.missed] == ["the record broken", "Label Studio's tasks of demo"]
    assert "Mend the line" in done.missed[0].remedy


def test_label_studio_forgets_too(server: Studio, studio: LabelStudio, tmp_path: Path, title: str) -> None:
    here = places(tmp_path, server.url, server.token)
    title = f"{title[-20:]} of ours"  # no name of a folder
    record = here.record(title)
    project = push(studio, record, title, tasks()).project
    said = [{"task_id": n, "result": results("left", comment=f"on {n}")} for n in ("pair-1", "pair-3")]
    annotate(server, project, tmp_path, *said)
    (tmp_path / "annotations.json").unlink()
    assert pull(studio, record, title).judgements == 2
    copies = tmp_path / "label-studio" / "export"
    copies.mkdir(parents=True)
    (copies / "1-at-2026.json").write_text(json.dumps(studio.annotated(project)))
    away = forget(places(tmp_path), "ada", NOBODY)
    assert (counts(away), away.exports, len(away.missed)) == ((3, 1, 0, 0), 1, 1)
    assert list(copies.iterdir()) == []
    assert pull(studio, record, title).judgements == 2  # it has them; we do not take them
    assert "on pair-1" not in text(record.folder)
    done = forget(here, "ada", NOBODY)
    assert (counts(done), done.missed) == ((0, 0, 0, 3), [])
    assert [card.task_id for card in studio.cards(project)] == ["pair-3"]
    assert record.leaving() == set()
    assert pull(studio, record, title).judgements == 1
    assert counts(forget(here, "ada", NOBODY)) == (0, 0, 0, 0)


def test_another_label_studio_is_not_taken_for_the_right_one(server: Studio, tmp_path: Path) -> None:
    here = places(tmp_path, server.url, server.token)
    record = here.record("nobody-made-this-project")
    filled(record)
    (left,) = forget(here, "ada", NOBODY).missed
    assert "has no project for the record nobody-made-this-project" in left.why
    assert str(record.folder / "leaving.json") in left.remedy
    assert record.leaving()
