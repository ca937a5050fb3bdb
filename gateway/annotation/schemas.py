"""Judging two answers, on the wire. Nothing here says which model an answer is of."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from gateway.wire import Text

Choice = Literal["left", "right", "tie", "both_bad"]
Format = Literal["jsonl", "trl", "trlx", "csv"]
Reason = Annotated[str, StringConstraints(min_length=1, max_length=60, strip_whitespace=True)]


class SideOut(BaseModel):
    messages: list[dict[str, Any]]


class TaskOut(BaseModel):
    """`id` is drawn by the gateway: the name that a task was uploaded with could tell something."""

    id: str
    prompt: list[dict[str, Any]]
    left: SideOut
    right: SideOut


class JudgementIn(BaseModel):
    model_config = ConfigDict(extra="forbid")

    choice: Choice
    reasons: list[Reason] = Field(default_factory=list, max_length=10)
    comment: Text = Field(default="", max_length=5_000)
    correction: Text | None = Field(default=None, max_length=100_000)
    """The answer as it should have been."""
    seconds: float | None = Field(default=None, ge=0, le=86_400)


class JudgementOut(JudgementIn):
    at: datetime


class Progress(BaseModel):
    """The caller's own. `left` = `tasks` - `judged` - `skipped`."""

    tasks: int
    judged: int
    skipped: int
    left: int
    seconds: float | None
    """The median of a judgement."""


class Next(BaseModel):
    """`judgement` is what was said before, where the task comes back by an undo."""

    task: TaskOut | None
    judgement: JudgementOut | None = None
    progress: Progress


class Uploaded(BaseModel):
    added: int
    known: int
    """Tasks that were there already, with the same content."""
