"""Which tasks of a record people are shown: every pair, some twice, and some whose answer is known."""

from collections.abc import Iterable, Sequence
from hashlib import sha256
from math import ceil

from annotation.push import place, repeated
from annotation.record import Record
from annotation.tasks import Answer, Task, task_of
from rlhf.records import PreferenceRow


def to_show(record: Record, again: float, known: float) -> list[Task]:
    """The tasks of a record that nobody has judged in Label Studio, in an order that says nothing.

    Asked for once more it gives the same tasks, and those that are new.

    Args:
        again: share of the pairs that is shown a second time, sides changed.
        known: share of tasks with a known answer, made of users' corrections.

    Raises:
        RecordError: the record cannot be read or written.
    """
    with record.alone():
        record.add_tasks(with_known_answer(record.direct(), record.tasks(), known))
    judged = {judgement.task_id for judgement in record.judgements()}
    once = [task for task in record.tasks() if not task.again and task.task_id not in judged]
    return sorted(repeated(once, again), key=place)


def with_known_answer(rows: Iterable[PreferenceRow], tasks: Sequence[Task], share: float) -> list[Task]:
    """Tasks that test the annotator, until they are a share of all: a user has written the better answer.

    Which corrections are taken hangs on their names, so that others follow only when there are more pairs.
    """
    pairs = [task for task in tasks if not task.again]
    there = {task.pair for task in pairs if task.gold}
    wanted = ceil(share * (len(pairs) - len(there))) - len(there)
    drawn = sorted((row for row in rows if row.source == "correction"), key=_drawn)
    made = [task for row in drawn if (task := _test(row)).pair not in there]
    return made[: max(0, wanted)]


def _test(row: PreferenceRow) -> Task:
    better = Answer(messages=row.chosen, trace=row.chosen_trace)
    worse = Answer(messages=row.rejected, trace=row.rejected_trace)
    task = task_of("", row.prompt, row.tools, better, worse, better=better, at=row.at)
    return task.model_copy(update={"session": row.session, "user": row.user})


def _drawn(row: PreferenceRow) -> bytes:
    return sha256(f"known {row.pair_id}".encode()).digest()
