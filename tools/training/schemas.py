"""The shapes of the training and jobs servers' answers, and the text of each for a model."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

Method = Literal["sft", "dpo", "kto", "reward", "embedding", "classifier"]
METHODS: dict[str, str] = {
    "sft": "teaches answers: rows with messages, or prompt and completion",
    "dpo": "teaches a preference: rows with prompt, chosen and rejected",
    "kto": "teaches from thumbs: rows with prompt, completion and label",
    "reward": "a model that scores answers: rows with prompt, chosen and rejected",
    "embedding": "better search: rows with query and positive",
    "classifier": "sorts questions by intent: rows with text and label",
}


class _Answer(BaseModel):
    # The gateway may say more than a model needs.
    model_config = ConfigDict(extra="ignore")


class Progress(_Answer):
    """How far a job is: `done` from 0 to 1."""

    done: float
    text: str = ""
    left_s: float | None = None


class JobItem(_Answer):
    """One job."""

    id: str
    kind: str
    title: str
    state: str
    error: str = ""
    progress: Progress | None = None

    def text(self) -> str:
        """One line."""
        far = ""
        if self.state == "running" and self.progress:
            left = f", {self.progress.left_s:.0f} s left" if self.progress.left_s is not None else ""
            far = f", {self.progress.done:.0%} {self.progress.text}{left}".rstrip()
        why = f": {self.error}" if self.error else ""
        return f"{self.id}: {self.title or self.kind}, {self.state}{far}{why}"


class JobStatus(JobItem):
    """One job with what it gave."""

    result: Any = None


class JobList(_Answer):
    """The project's latest jobs."""

    items: list[JobItem]

    def text(self) -> str:
        """One line a job."""
        return "\n".join(item.text() for item in self.items) or "There are no jobs."


class Line(_Answer):
    """One line of a log."""

    seq: int
    level: str
    text: str


class Log(_Answer):
    """What a job said."""

    items: list[Line]

    def text(self) -> str:
        """The lines with their numbers."""
        return "\n".join(f"{line.seq} {line.level}: {line.text}" for line in self.items) or "Nothing new."


class MethodItem(BaseModel):
    """A method of training and the rows that it takes."""

    name: str
    takes: str


class MethodList(BaseModel):
    """The methods of training."""

    methods: list[MethodItem]

    def text(self) -> str:
        """One line a method."""
        return "\n".join(f"{method.name}: {method.takes}" for method in self.methods)
