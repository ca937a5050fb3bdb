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


class CheckItem(_Answer):
    """What must hold beside the win rate."""

    name: str
    passed: bool
    detail: str


class Compared(_Answer):
    """An adapter beside what is live and the base. A side is `base`, `current` or `candidate`."""

    job_id: str
    candidate: str
    current: str
    judge: str
    verdict: str
    reasons: list[str]
    win_rate: float | None
    low: float
    high: float
    wins: int
    losses: int
    ties: int
    flips: int
    checks: list[CheckItem]
    kept: dict[str, float] | None
    length_ratio: float
    suites: dict[str, dict[str, dict[str, float]]]
    likelihood: dict[str, dict[str, dict[str, float]]]
    regression: dict[str, int]
    html: str

    def text(self) -> str:
        """Verdict, win rate, suites by side, and where the page is."""
        rate = "nothing was decided" if self.win_rate is None else f"win rate {self.win_rate:.2f}"
        counts = f"{self.wins} wins, {self.losses} losses, {self.ties} ties"
        lines = [f"{self.candidate} beside {self.current}: {self.verdict}"]
        lines.append(f"{rate} ({self.low:.2f} to {self.high:.2f}), {counts}, judged by {self.judge}")
        lines += self.reasons
        lines += [f"failed: {check.name}, {check.detail}" for check in self.checks if not check.passed]
        for suite, sides in self.suites.items():
            shares = [f"{side} {row['exact']:.1%}" for side, row in sides.items() if row.get("count")]
            lines += [f"{suite}, exact: {', '.join(shares)}"] if shares else []
        for what, sides in self.likelihood.items():
            figures = ", ".join(f"{side} {row['perplexity']:.3f}" for side, row in sides.items())
            lines.append(f"perplexity of {what}: {figures}")
        return "\n".join([*lines, f"Report: {self.html}"])


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
