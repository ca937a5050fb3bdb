"""What people say of two answers, as scores of the answers' traces; judging again replaces them.

A score's value says how its answer fared: `chosen`, `rejected`, `tie` or `both_bad`.
"""

import re
from collections.abc import Callable, Iterator
from contextlib import closing
from hashlib import sha256
from typing import Any

from annotation.pairs import PREFERENCE
from annotation.quality import newest
from annotation.record import Record
from annotation.tasks import Answer, Judgement, Side, Task
from annotation.traces import Traces
from rlhf.records import canonical

TOGETHER = 10
"""Scores of one request: a comment may be long, and Langfuse takes up to 1 MB."""
SPAN = re.compile(r"[0-9a-f]{16}")
Score = dict[str, Any]


def scores_of(task: Task, judgement: Judgement) -> list[Score]:
    """Scores as Langfuse has them: one for each answer that has a trace of its own. A task with a known
    answer says something of the annotator and nothing of the answers.

    A second answer that was sampled for the pair is no observation of the trace that it names, so that only
    the first one is scored; what it was compared with stands in the metadata.
    """
    if task.gold:
        return []
    sides: tuple[tuple[Side, Answer, Answer], ...] = (
        ("left", task.left, task.right),
        ("right", task.right, task.left),
    )
    found = []
    for side, answer, other in sides:
        if about := _about(answer, other):
            metadata: dict[str, Any] = {"task": task.task_id, "reasons": judgement.reasons}
            if stars := getattr(judgement, f"{side}_stars"):
                metadata["stars"] = stars
            if other.trace:
                metadata["other"] = other.trace.model_dump(mode="json")
            score: Score = {
                **about,
                "id": _id(task, judgement.annotator, side),
                "name": PREFERENCE,
                "dataType": "CATEGORICAL",
                "value": fared(judgement.choice, side),
                "metadata": metadata,
            }
            found.append(score | ({"comment": judgement.comment} if judgement.comment else {}))
    return found


def fared(choice: str, side: Side) -> str:
    """What a choice between two says of the answer on one side."""
    if choice in ("left", "right"):
        return "chosen" if choice == side else "rejected"
    return choice


def bring(record: Record, store: Callable[[], Traces]) -> int:
    """Bring the scores of all judgements of a record to a trace store: those that are new or changed, and
    those of judgements that are withdrawn. How many. May be repeated after any failure.

    Args:
        store: opens the trace store; asked only if there is something to say.

    Raises:
        TracesError: it does not answer or refuses; the next run says what is left.
        RecordError: the record cannot be read or written.
    """
    wanted = {str(score["id"]): score for score in _all(record)}
    digests = {name: sha256(canonical(score)).hexdigest()[:16] for name, score in wanted.items()}
    sent = record.scored()
    changed = [wanted[name] for name in wanted if sent.get(name) != digests[name]]
    gone = sorted(sent.keys() - wanted.keys())
    if not changed and not gone:
        return 0
    with closing(store()) as traces:
        for at in range(0, len(changed), TOGETHER):
            traces.score(changed[at : at + TOGETHER])
        for name in gone:
            traces.withdraw(name)
    with record.alone():
        record.set_scored(digests)
    return len(changed) + len(gone)


def _all(record: Record) -> Iterator[Score]:
    tasks = {task.task_id: task for task in record.tasks()}
    for judgement in newest(record.judgements()):
        if judgement.task_id in tasks:
            yield from scores_of(tasks[judgement.task_id], judgement)


def _about(answer: Answer, other: Answer) -> Score | None:
    """The observation that gave the answer; its trace, where no other answer of the pair is of it too."""
    if answer.trace is None:
        return None
    about: Score = {"traceId": answer.trace.trace_id}
    if SPAN.fullmatch(answer.trace.generation_id):
        return {**about, "observationId": answer.trace.generation_id}
    shared = other.trace is not None and other.trace.trace_id == answer.trace.trace_id
    return None if shared else about


def _id(task: Task, annotator: str, side: Side) -> str:
    """The same whenever the same person judges the same task: then the score is replaced."""
    return sha256(canonical([PREFERENCE, task.task_id, annotator, side])).hexdigest()[:32]
