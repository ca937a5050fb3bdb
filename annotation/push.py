"""Pairs to Label Studio: each once, in an order that says nothing, without a word of where they come from."""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from annotation.label_studio import LabelStudio
from annotation.record import Record
from annotation.tasks import Task, task_of
from rlhf.records import Message

BATCH = 50
"""Tasks in one import."""
NOTHING = "(no text)"
Told = Callable[[int, int], None]


@dataclass(frozen=True)
class Pushed:
    """What a push did.

    Attributes:
        project: Label Studio's id.
        made: tasks that it has now and had not before.
        there: tasks that it had already.
        removed: tasks that it had twice, for example after a request that broke off.
    """

    project: int
    made: int
    there: int
    removed: int


def push(
    studio: LabelStudio,
    record: Record,
    title: str,
    tasks: Iterable[Task],
    told: Told = lambda done, total: None,
) -> Pushed:
    """Bring every task of the record, and `tasks`, to a project. To be run again after any failure.

    What Label Studio has is asked of it and not remembered, so a crash between an import and a note of it
    cannot make a task appear twice.

    Args:
        told: receives (tasks that are there, tasks in all).

    Raises:
        RecordError: the record cannot be written; then nothing is pushed.
        LabelStudioError: it cannot be reached or refuses.
    """
    with record.alone():
        # First: whatever happens to the push, an answer to it can be joined with its traces.
        record.add_tasks(tasks)
        wanted = record.tasks()
        project = studio.project(title)
        there = {card.task_id for card in studio.cards(project)}
        missing = sorted((t for t in wanted if t.task_id not in there), key=place)
        done = len(wanted) - len(missing)
        told(done, len(wanted))
        for at in range(0, len(missing), BATCH):
            batch = missing[at : at + BATCH]
            studio.add(project, [shown(task) for task in batch])
            done += len(batch)
            told(done, len(wanted))
        return Pushed(project, len(missing), len(wanted) - len(missing), _once(studio, project))


def shown(task: Task) -> dict[str, Any]:
    """What an annotator may see: no model, no trace, no user, no sign of a known answer."""
    prompt = [{"role": message.role, "content": readable([message])} for message in task.prompt]
    left, right = readable(task.left.messages), readable(task.right.messages)
    return {"task_id": task.task_id, "prompt": prompt, "left": left, "right": right}


def repeated(tasks: Sequence[Task], share: float) -> list[Task]:
    """The tasks, and about a share of them once more with the sides changed.

    Whether a pair is one of these hangs on its name alone: it stays one when others are added.
    """

    def is_chosen(task: Task) -> bool:
        drawn = int.from_bytes(sha256(f"again {task.task_id}".encode()).digest()[:4])
        return not task.again and drawn < share * 2**32

    return [*tasks, *(_changed(task) for task in tasks if is_chosen(task))]


def readable(messages: Sequence[Message]) -> str:
    """What messages say, tool calls as text."""
    parts = []
    for message in messages:
        if message.content and message.content.strip():
            parts.append(message.content)
        for call in message.tool_calls or ():
            function = call.get("function")
            parts.append(f"[calls {json.dumps(function or call, ensure_ascii=False)}]")
    return "\n\n".join(parts) or NOTHING


def _changed(task: Task) -> Task:
    better = {"left": task.left, "right": task.right}.get(task.gold or "")
    again = task_of(task.task_id, task.prompt, task.tools, task.left, task.right, better=better, again=True)
    return again.model_copy(update={"session": task.session, "user": task.user, "at": task.at})


def place(task: Task) -> bytes:
    """Where a task stands among others: it says nothing, and stays when others come."""
    return sha256(f"place {task.task_id}".encode()).digest()


def _once(studio: LabelStudio, project: int) -> int:
    """Removes what is there twice, never a task that somebody has worked on."""
    first: dict[str, int] = {}
    removed = 0
    for card in sorted(studio.cards(project), key=lambda card: (-card.annotations, card.id)):
        if card.task_id in first and not card.annotations:
            studio.remove(card.id)
            removed += 1
        first.setdefault(card.task_id, card.id)
    return removed
