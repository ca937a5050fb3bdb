"""A task (two answers to one prompt, side by side) and the judgement that a person gives on it.

Label Studio's projects and the console's page share both, and their judgements become rows in `preferences`
alone: equal judgements give equal rows, wherever they were given.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from hashlib import sha256
from typing import Annotated, Any, Literal, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, field_validator, model_validator

from rlhf.records import UTC_TIME, Message, PreferenceRow, Stars, Trace, canonical, now

Choice = Literal["left", "right", "tie", "both_bad"]
Side = Literal["left", "right"]
At = Annotated[AwareDatetime, UTC_TIME]
AGAIN = "-again"
"""Ends the id of a task that shows a pair a second time, sides changed."""
CORRECTION = "-correction"
"""Ends the id of a row that comes from a correction."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class Answer(_Strict):
    """What a model said to the prompt, and the generation that it is taken from."""

    messages: list[Message] = Field(min_length=1)
    trace: Trace | None = None

    @model_validator(mode="after")
    def _is_of_the_assistant(self) -> Self:
        if self.messages[0].role != "assistant":
            raise ValueError(f"an answer starts with a message of the {self.messages[0].role}")
        return self

    def said(self) -> list[dict[str, Any]]:
        """The messages as JSON; equal answers say equal things, whoever gave them."""
        return [message.plain() for message in self.messages]


class Task(_Strict):
    """Two answers as an annotator sees them, without a word of where they come from.

    `left` and `right` carry their traces: take them off before a page or a project shows the task.
    """

    task_id: str = Field(min_length=1)
    prompt: list[Message] = Field(min_length=1)
    tools: str | None = None
    """The tools that the model was offered: OpenAI's list as a JSON string, or null."""
    left: Answer
    right: Answer
    session: str | None = None
    user: str | None = None
    """Who asked; never who annotates."""
    gold: Side | None = None
    """The side that is known to be better, where the task tests the annotator."""
    at: At | None = None
    """When the first of the two answers was given."""

    @model_validator(mode="after")
    def _has_a_choice(self) -> Self:
        if self.left.said() == self.right.said():
            raise ValueError(f"task {self.task_id}: both answers are the same")
        return self

    @property
    def pair(self) -> str:
        """The same for tasks with the same prompt and answers, whichever side they are on."""
        return content_id(self.prompt, self.tools, (self.left, self.right))

    @property
    def again(self) -> bool:
        """Whether the pair is shown a second time, sides changed."""
        return self.task_id.endswith(AGAIN)

    @property
    def left_is_first(self) -> bool:
        """Whether the left answer is the first of the pair in an order that no side decides."""
        return canonical(self.left.said()) < canonical(self.right.said())

    def plain(self) -> dict[str, Any]:
        """As JSON, messages without the keys that are not set."""
        shown = self.model_dump(mode="json")
        shown["prompt"] = [message.plain() for message in self.prompt]
        for side in ("left", "right"):
            shown[side]["messages"] = getattr(self, side).said()
        return shown


class Judgement(_Strict):
    """What one person says of one task. A second one of the same person on the same task replaces it."""

    task_id: str = Field(min_length=1)
    choice: Choice
    reasons: list[str] = []
    comment: str = ""
    correction: str | None = None
    """The answer as it should have been; an empty one is none."""
    left_stars: Stars | None = None
    """How good each answer is by itself, from 1 to 5."""
    right_stars: Stars | None = None
    annotator: str = Field(min_length=1)
    seconds: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    """How long the person took."""
    at: At

    @field_validator("correction")
    @classmethod
    def _none_if_empty(cls, text: str | None) -> str | None:
        return text if text and text.strip() else None


def content_id(prompt: Iterable[Message], tools: str | None, answers: Iterable[Answer]) -> str:
    """Sixteen hexadecimal digits of a pair's content; the order of the answers does not matter."""
    said = sorted((answer.said() for answer in answers), key=canonical)
    return sha256(canonical([[m.plain() for m in prompt], tools, said])).hexdigest()[:16]


def task_of(
    pair_id: str,
    prompt: Sequence[Message],
    tools: str | None,
    one: Answer,
    other: Answer,
    *,
    session: str | None = None,
    user: str | None = None,
    better: Answer | None = None,
    again: bool = False,
    at: datetime | None = None,
) -> Task:
    """The task of a pair. Which answer is left hangs on a hash of the pair's id: blind, and always the same.

    Args:
        pair_id: names the pair and becomes the task's id; an empty one is made from the content.
        one, other: the answers, in any order.
        better: the answer that is known to be better, for a task that tests the annotator.
        again: show the pair with the sides changed, to see whether a verdict hangs on the place.

    Raises:
        ValueError: both answers are the same, or `better` is neither of them.
    """
    pair_id = pair_id or content_id(prompt, tools, (one, other))
    left, right = sorted((one, other), key=lambda answer: canonical(answer.said()))
    if (sha256(pair_id.encode()).digest()[0] & 1) != again:
        left, right = right, left
    if better is not None and better not in (left, right):
        raise ValueError(f"pair {pair_id}: the better answer is neither of the two")
    return Task(
        task_id=pair_id + AGAIN if again else pair_id,
        prompt=list(prompt),
        tools=tools,
        left=left,
        right=right,
        session=session,
        user=user,
        gold=None if better is None else ("left" if better == left else "right"),
        at=at or now(),
    )


def preferences(task: Task, judgement: Judgement) -> list[PreferenceRow]:
    """The rows that a judgement gives.

    A choice gives one row; a tie and "both bad" give none. A correction gives one more: it is preferred to
    the answer that was chosen, and where none was, to each of the two with half the weight. A task with a
    known answer tests the annotator and gives nothing. Stars go with the answer that they were given to; they
    decide nothing.

    Raises:
        ValueError: the judgement is on another task.
    """
    if judgement.task_id != task.task_id:
        raise ValueError(f"the judgement is on task {judgement.task_id}, not on {task.task_id}")
    if task.gold:
        return []
    sides = {"left": [task.left, task.right], "right": [task.right, task.left]}.get(judgement.choice)
    rows = [_row(task, judgement, sides[0], sides[1])] if sides else []
    if judgement.correction is None:
        return rows
    corrected = sides[:1] if sides else [task.left, task.right]
    for answer in corrected:
        mended = _mended(answer, judgement.correction)
        if mended.said() != answer.said():
            rows.append(_row(task, judgement, mended, answer, 1 / len(corrected), "correction"))
    return rows


def _row(
    task: Task,
    judgement: Judgement,
    chosen: Answer,
    rejected: Answer,
    weight: float = 1.0,
    source: Literal["choice", "correction"] = "choice",
) -> PreferenceRow:
    return PreferenceRow(
        pair_id=task.task_id + (CORRECTION if source == "correction" else ""),
        prompt=task.prompt,
        chosen=chosen.messages,
        rejected=rejected.messages,
        tools=task.tools,
        source=source,
        weight=weight,
        session=task.session,
        user=task.user,
        chosen_trace=chosen.trace,
        rejected_trace=rejected.trace,
        at=judgement.at,
        chosen_stars=_stars(task, judgement, chosen),
        rejected_stars=_stars(task, judgement, rejected),
    )


def _stars(task: Task, judgement: Judgement, answer: Answer) -> int | None:
    """Those of an answer; a corrected one has none."""
    if answer is task.left:
        return judgement.left_stars
    return judgement.right_stars if answer is task.right else None


def _mended(answer: Answer, correction: str) -> Answer:
    """The answer with other last words. No model said them, so they have no trace."""
    return Answer(messages=[*answer.messages[:-1], Message(role="assistant", content=correction)])
