"""Pairs in a real Label Studio: each once, whatever breaks, and with nothing that gives them away."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from annotation.errors import LabelStudioError, RecordError
from annotation.label_studio import LabelStudio
from annotation.push import push, readable, repeated, shown
from annotation.record import Record
from annotation.tasks import AGAIN, Answer, task_of
from rlhf.records import Message
from tests.annotation.conftest import Studio
from tests.annotation.proxy import Fate, proxy
from tests.annotation.tasks import a_task, question, said, side_of

pytestmark = pytest.mark.timeout(600)
READ = """
found = list(ls.tasks.list(project=int(sys.argv[1]), fields="all"))
print(json.dumps([{"data": task.data, "meta": task.meta} for task in found]))
"""


def counts(studio: LabelStudio, project: int) -> Counter[str]:
    return Counter(card.task_id for card in studio.cards(project))


def test_labels_studios_own_client_reads_what_was_pushed(
    server: Studio, studio: LabelStudio, tmp_path: Path, title: str
) -> None:
    tasks = [a_task(number, gold=number < 20) for number in range(120)]
    seen: list[tuple[int, int]] = []
    done = push(studio, Record(tmp_path), title, tasks, lambda *told: seen.append(told))
    assert (done.made, done.there, done.removed) == (120, 0, 0)
    assert (seen[0], seen[-1]) == ((0, 120), (120, 120))
    read = server.sdk(READ, str(done.project))
    assert sorted(r["data"]["task_id"] for r in read) == sorted(t.task_id for t in tasks)
    assert [r["data"]["task_id"] for r in read] != [t.task_id for t in tasks]
    assert all(r["data"] == shown(t) for t in tasks for r in read if r["data"]["task_id"] == t.task_id)
    assert {key for r in read for key in r["data"]} == {"task_id", "prompt", "left", "right"}
    assert not any(r["meta"] for r in read)


def test_a_push_is_repeated_without_a_second_copy(studio: LabelStudio, tmp_path: Path, title: str) -> None:
    first = push(studio, Record(tmp_path), title, [a_task(n) for n in range(3)])
    again = push(studio, Record(tmp_path), title, [a_task(n) for n in range(5)])
    assert (again.project, again.made, again.there) == (first.project, 2, 3)
    # Another machine, which has no record of the first.
    other = push(studio, Record(tmp_path / "other"), title, [a_task(n) for n in range(5)])
    assert (other.made, other.there) == (0, 5)
    assert set(counts(studio, first.project).values()) == {1}


def test_an_import_whose_answer_nobody_hears_is_not_made_twice(
    server: Studio, studio: LabelStudio, tmp_path: Path, title: str
) -> None:
    imports = 0

    def fate(method: str, path: str) -> Fate:
        nonlocal imports
        imports += method == "POST" and "/import" in path
        return "cut" if imports == 2 and "/import" in path else "pass"

    tasks = [a_task(number) for number in range(120)]
    with proxy(server.url, fate) as url:
        broken = LabelStudio(url, server.token)
        with pytest.raises(LabelStudioError, match="no Label Studio answers"):
            push(broken, Record(tmp_path), title, tasks)
        broken.close()
    done = push(studio, Record(tmp_path), title, [])
    assert (done.made, done.there) == (20, 100)
    assert counts(studio, done.project) == Counter(task.task_id for task in tasks)


def test_copies_go_and_the_one_that_somebody_has_worked_on_stays(
    server: Studio, studio: LabelStudio, tmp_path: Path, title: str
) -> None:
    project = studio.project(title)
    for _ in range(3):
        studio.add(project, [shown(a_task(0))])
    last = max(studio.cards(project), key=lambda card: card.id)
    result = '[{"from_name":"verdict","to_name":"prompt","type":"choices","value":{"choices":["tie"]}}]'
    code = "made = ls.annotations.create(id=int(sys.argv[1]), result=json.loads(sys.argv[2])); print(made.id)"
    server.sdk(code, str(last.id), result)
    assert push(studio, Record(tmp_path), title, [a_task(0)]).removed == 2
    assert [card.id for card in studio.cards(project)] == [last.id]


def test_the_better_answer_is_left_as_often_as_right() -> None:
    tasks = [a_task(number, gold=True) for number in range(400)]
    left = sum(side_of(task, f"good {n}") == "left" for n, task in enumerate(tasks))
    assert 160 <= left <= 240
    told = json.dumps([shown(task) for task in tasks])
    assert "gold" not in told
    assert "trace" not in told


def test_some_pairs_are_shown_again_with_their_sides_changed() -> None:
    tasks = [a_task(number, gold=number % 2 == 0) for number in range(400)]
    more = repeated(tasks, 0.25)
    again = [task for task in more if task.again]
    assert more[:400] == tasks
    assert 65 <= len(again) <= 135
    assert [task for task in repeated(tasks[:200], 0.25) if task.again] == [
        task for task in again if task.task_id.removesuffix(AGAIN) in {t.task_id for t in tasks[:200]}
    ]
    assert len(repeated(more, 1)) == len(more) + 400
    assert repeated(tasks, 0) == tasks
    for task in again:
        first = next(t for t in tasks if t.task_id + AGAIN == task.task_id)
        assert (task.left, task.right) == (first.right, first.left)
        assert (task.session, task.user, task.at) == (first.session, first.user, first.at)
        assert (task.gold is None) == (first.gold is None)


def test_tool_calls_are_readable_and_silence_is_named() -> None:
    call: dict[str, Any] = {"id": "1", "function": {"name": "search", "arguments": '{"q": "x"}'}}
    long = Answer(
        messages=[Message(role="assistant", tool_calls=[call]), Message(role="tool", content="found")]
    )
    task = task_of("p", question("?"), "[]", long, said(" "))
    texts = {shown(task)["left"], shown(task)["right"]}
    assert any('"name": "search"' in text and "found" in text for text in texts)
    assert "(no text)" in texts
    assert readable([Message(role="user", content="<b>")]) == "<b>"


def test_a_project_of_another_kind_is_left_alone(
    server: Studio, studio: LabelStudio, tmp_path: Path, title: str
) -> None:
    config = "<View><Text name='t' value='$text'/></View>"
    server.sdk(f"print(ls.projects.create(title={title!r}, label_config={config!r}).id)")
    with pytest.raises(LabelStudioError, match="was not made for pairs"):
        push(studio, Record(tmp_path), title, [a_task()])
    with pytest.raises(LabelStudioError, match="51 characters"):
        push(studio, Record(tmp_path), "x" * 51, [a_task()])


def test_what_cannot_be_kept_is_not_pushed(studio: LabelStudio, tmp_path: Path, title: str) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RecordError, match="cannot be written"):
        push(studio, Record(tmp_path / "file"), title, [a_task()])
    with pytest.raises(LabelStudioError, match="has no project"):
        studio.project(title, make=False)


def test_the_record_knows_the_traces_that_annotators_do_not_see(
    studio: LabelStudio, tmp_path: Path, title: str
) -> None:
    push(studio, Record(tmp_path), title, [a_task(7)])
    assert Record(tmp_path).tasks() == [a_task(7)]
