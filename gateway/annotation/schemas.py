"""Judging two answers, on the wire. Nothing here says which model an answer is of."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from gateway.wire import Text
from rlhf.records import Stars

Choice = Literal["left", "right", "tie", "both_bad"]
Format = Literal["jsonl", "trl", "trlx", "csv"]
Kind = Literal["preference", "kto"]
"""Pairs of which one is preferred, or answers with a thumb each."""
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
    left_stars: Stars | None = None
    """How good each answer is by itself."""
    right_stars: Stars | None = None
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


class CollectIn(BaseModel):
    """Which traces of the project, and what is made of them."""

    model_config = ConfigDict(extra="forbid")

    since: str = Field(default="30d", max_length=40)
    """Answers from then on: a date, or so long ago (36h, 7d, 2w)."""
    until: str | None = Field(default=None, max_length=40)
    second: int = Field(default=20, ge=0, le=1_000)
    """Answers that get a second one of a model; those that somebody disliked first."""
    model: str = Field(default="", max_length=300)
    """For second answers, such as base:adapter; the one that answered first where it is empty."""
    temperature: float = Field(default=1.0, ge=0, le=2)
    again: float = Field(default=0.1, ge=0, le=1)
    """Share of the pairs that is shown twice, sides changed, for the flip rate."""
    known: float = Field(default=0.1, ge=0, le=1)
    """Share of tasks with a known answer, made of users' corrections."""
    to: Literal["console", "label_studio", "nowhere"] = "console"
    """Who shows the tasks. `nowhere` keeps what users said themselves, and pairs for later."""


class Collected(BaseModel):
    """A run of that. `done` of `total` of what it is `doing`."""

    state: Literal["running", "done", "failed", "stopped"] = "running"
    doing: str = ""
    done: int = 0
    total: int = 0
    preferences: int = 0
    """Rows that users gave themselves: corrections, and a thumb up and one down on one prompt."""
    pairs: int = 0
    """Two answers to one prompt that were there already."""
    alone: int = 0
    """Answers without another one to the same prompt."""
    thumbs: int = 0
    """Answers that somebody liked or disliked."""
    cut: bool = False
    """There were more answers than the newest 20,000, which are all that one run looks at."""
    same: int = 0
    """Second answers that were no other ones."""
    added: int = 0
    """Tasks that are new where they are shown, those that come twice and those with a known answer too."""
    error: str = ""
    began_at: datetime
    ended_at: datetime | None = None


class Standing(BaseModel):
    """How far judging has come, on the console's page and, as it was pulled last, in Label Studio."""

    tasks: int
    judged: int
    """Tasks on which somebody has said something."""
    preferences: int
    """Rows that the project gives now."""
