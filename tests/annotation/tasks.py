"""Tasks and judgements that tests share."""

from datetime import UTC, datetime, timedelta
from typing import Any

from annotation.tasks import Answer, Judgement, Task, task_of
from rlhf.records import Message, Trace

AT = datetime(2026, 11, 2, 9, 30, tzinfo=UTC)


def said(text: str, trace: str | None = None) -> Answer:
    found = None if trace is None else Trace(trace_id=trace, generation_id=f"{trace}-g", model="m")
    return Answer(messages=[Message(role="assistant", content=text)], trace=found)


def question(text: str) -> list[Message]:
    return [Message(role="system", content="Be brief."), Message(role="user", content=text)]


def a_task(number: int = 0, **more: Any) -> Task:
    name = f"pair-{number}"
    one, other = said(f"good {number}", f"t{number}"), said(f"bad {number}", f"u{number}")
    if more.pop("gold", False):
        more["better"] = one
    return task_of(
        name, question(f"Question {number}?"), None, one, other, session="s", user="u", at=AT, **more
    )


def judged(task: Task, choice: str, annotator: str = "ann", minutes: float = 0, **more: Any) -> Judgement:
    at = AT + timedelta(minutes=minutes)
    return Judgement(task_id=task.task_id, choice=choice, annotator=annotator, at=at, **more)  # type: ignore[arg-type]


def side_of(task: Task, text: str) -> str:
    """On which side an answer stands."""
    return "left" if task.left.messages[0].content == text else "right"
