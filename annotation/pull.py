"""Annotations of Label Studio to judgements. The export is asked each time and says everything."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast, get_args

from pydantic import ValidationError

from annotation.label_studio import LabelStudio
from annotation.record import Record
from annotation.tasks import Choice, Judgement

Json = dict[str, Any]


@dataclass(frozen=True)
class Pulled:
    """What a pull found.

    Attributes:
        judgements: all that Label Studio has now.
        rows: preferences that the project gives now.
        unknown: judgements on tasks that this record does not know.
        unusable: annotations without a verdict, each with the reason.
    """

    judgements: int
    rows: int
    unknown: int
    unusable: tuple[str, ...]


def pull(studio: LabelStudio, record: Record, title: str) -> Pulled:
    """Bring a record up to date with Label Studio. Any number of times, with the same end.

    Raises:
        LabelStudioError: it cannot be reached or has no such project; the record stays as it was.
        RecordError: the record cannot be written; it stays as it was.
    """
    with record.alone():
        project = studio.project(title, make=False)
        judgements, unusable = judgements_of(studio.annotated(project), studio.people())
        record.set_judgements(judgements)
        known = {task.task_id for task in record.tasks()}
        unknown = sum(judgement.task_id not in known for judgement in judgements)
        return Pulled(len(judgements), len(record.rows()), unknown, tuple(unusable))


def judgements_of(exported: list[Json], people: dict[int, str]) -> tuple[list[Judgement], list[str]]:
    """Judgements of an export in Label Studio's JSON format, by task and time; and what is none, with why.

    Skipped annotations are neither. Of the people that an annotation may name by number, the address.
    """
    found, unusable = [], []
    for task in exported:
        for annotation in task.get("annotations", ()):
            if annotation.get("was_cancelled") or not task["data"].get("task_id"):
                continue
            try:
                found.append(judgement_of(task["data"]["task_id"], annotation, people))
            except (ValueError, KeyError, TypeError) as error:
                reason = "has no verdict" if not isinstance(error, KeyError) else f"has no {error}"
                unusable.append(f"annotation {annotation.get('id')} of task {task.get('id')} {reason}")
    found.sort(key=lambda judgement: (judgement.task_id, judgement.at, judgement.annotator))
    return found, unusable


def judgement_of(task_id: str, annotation: Json, people: dict[int, str]) -> Judgement:
    """One annotation.

    Results are told apart by `from_name` and `type`: `to_name` is not always what the template says.

    Raises:
        ValueError: it has no verdict.
    """
    given = {(entry["from_name"], entry["type"]): entry["value"] for entry in annotation["result"]}
    try:
        return Judgement(
            task_id=task_id,
            choice=_choice(given),
            reasons=sorted(given.get(("reasons", "choices"), {}).get("choices", [])),
            comment=_text(given, "comment"),
            correction=_text(given, "correction") or None,
            left_stars=_stars(given, "left_stars"),
            right_stars=_stars(given, "right_stars"),
            annotator=_name(annotation["completed_by"], people),
            seconds=max(0.0, annotation["lead_time"]) if annotation.get("lead_time") is not None else None,
            at=datetime.fromisoformat(annotation["updated_at"]),
        )
    except ValidationError as error:
        raise ValueError(error.errors()[0]["msg"]) from error


def _choice(given: dict[tuple[str, str], Json]) -> Choice:
    """The verdict; in projects with a `Pairwise` control alone, the side that was clicked."""
    named: list[str] = given.get(("verdict", "choices"), {}).get("choices", [])
    clicked = [value.get("selected") for (_, kind), value in given.items() if kind == "pairwise"]
    for one in (*named, *clicked):
        if one in get_args(Choice):
            return cast("Choice", one)
    raise ValueError("there is no verdict")


def _text(given: dict[tuple[str, str], Json], name: str) -> str:
    text = given.get((name, "textarea"), {}).get("text", [])
    return text if isinstance(text, str) else "\n".join(text)


def _stars(given: dict[tuple[str, str], Json], name: str) -> int | None:
    """None where no star was given, or all were taken back (0)."""
    return given.get((name, "rating"), {}).get("rating") or None


def _name(who: Any, people: dict[int, str]) -> str:
    """Exports name a person by number, or as an object."""
    if isinstance(who, dict):
        return str(who.get("email") or who["id"])
    return people.get(who) or f"user {who}"
