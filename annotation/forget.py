"""Forget a user: records, their tasks in Label Studio, and the copies that it keeps of its exports.

Any number of times, with the same end. Here nothing is left after the first run; what Label Studio may still
have is known by its ids until it has said that it is gone.
"""

from contextlib import closing
from dataclasses import dataclass, field

from annotation.errors import AnnotationError, LabelStudioError
from annotation.label_studio import LabelStudio
from annotation.places import Places
from annotation.record import Record, Removed

AGAIN = "Then run the erasure again."


@dataclass(frozen=True)
class Missed:
    """Something that could not be reached: where, why, and what to do about it."""

    what: str
    why: str
    remedy: str


@dataclass
class Forgotten:
    """What was removed, of all projects.

    Attributes:
        studio: tasks that were deleted from Label Studio.
        exports: copies of exports that our own Label Studio had kept.
    """

    tasks: int = 0
    judgements: int = 0
    rows: int = 0
    studio: int = 0
    exports: int = 0
    missed: list[Missed] = field(default_factory=list)


def forget(places: Places, user: str, traces: frozenset[str]) -> Forgotten:
    """Remove what was made of a user's words. Raises nothing: what went wrong is in `missed`."""
    done = Forgotten()
    for record in places.records():
        try:
            with record.alone():
                _add(done, record.forget(user, traces))
        except AnnotationError as error:
            done.missed.append(_missed(f"the record {record.folder.name}", error))
    for copy in places.exports():
        try:
            copy.unlink(missing_ok=True)
            done.exports += 1
        except OSError as error:
            remedy = f"Delete {copy}."
            done.missed.append(Missed("an export in Label Studio's folder", str(error.strerror), remedy))
    _from_studio(places, done)
    return done


def _add(done: Forgotten, removed: Removed) -> None:
    done.tasks += removed.tasks
    done.judgements += removed.judgements
    done.rows += removed.rows


def _from_studio(places: Places, done: Forgotten) -> None:
    """Delete what is leaving; without any, nobody is asked."""
    waiting = [record for record in places.records() if _waits(record, done)]
    if not waiting:
        return
    try:
        with closing(places.studio()) as studio:
            titles = studio.titles()
            for record in waiting:
                numbers = [number for number, title in titles.items() if places.is_of(record, title)]
                try:
                    _project(studio, numbers, record, done)
                except AnnotationError as error:
                    done.missed.append(_missed(f"Label Studio's tasks of {record.folder.name}", error))
    except AnnotationError as error:
        names = ", ".join(record.folder.name for record in waiting)
        done.missed.append(_missed(f"Label Studio's tasks of {names}", error))


def _waits(record: Record, done: Forgotten) -> bool:
    try:
        return bool(record.leaving())
    except AnnotationError as error:
        done.missed.append(_missed(f"the record {record.folder.name}", error))
        return False


def _project(studio: LabelStudio, numbers: list[int], record: Record, done: Forgotten) -> None:
    """Delete the tasks of one record. LabelStudioError, RecordError."""
    if not numbers:
        text = f"Label Studio at {studio.url} has no project for the record {record.folder.name}"
        remedy = (
            "Name the one that has it with LABEL_STUDIO_URL and LABEL_STUDIO_API_KEY; if the project was "
            f"deleted there, delete {record.folder / 'leaving.json'}."
        )
        raise LabelStudioError(text, remedy)
    with record.alone():
        leaving = record.leaving()
        for number in numbers:
            for card in studio.cards(number):
                if card.task_id in leaving:
                    studio.remove(card.id)
                    done.studio += 1
        record.gone()


def _missed(what: str, error: AnnotationError) -> Missed:
    return Missed(what, str(error), f"{error.remedy} {AGAIN}".strip())
