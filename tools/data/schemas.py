"""The shapes of the data server's answers, and the text of each for a model."""

from __future__ import annotations

import json
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

Kind = Literal["preference", "kto", "sft", "triplet", "label"]
Key = Literal["prompt", "session", "user"]


class _Answer(BaseModel):
    # The gateway may say more than a model needs.
    model_config = ConfigDict(extra="ignore")


class DatasetItem(_Answer):
    """One dataset."""

    id: str
    name: str
    kind: str
    format: str
    state: str
    error: str | None = None
    rows: int | None = None
    shape: str | None = None
    job_id: str | None = None

    def text(self) -> str:
        """One line."""
        rows = f"{self.rows} rows" if self.rows is not None else "rows not counted"
        job = f", job {self.job_id}" if self.state == "building" else ""
        why = f": {self.error}" if self.error else ""
        return f"{self.name} ({self.shape or self.format}, {rows}, {self.state}{job}{why})"


class DatasetList(_Answer):
    """The project's datasets."""

    items: list[DatasetItem]

    def text(self) -> str:
        """One line a dataset."""
        return "\n".join(item.text() for item in self.items) or "The project has no datasets."


class Link(_Answer):
    """Another dataset."""

    id: str
    name: str


class Description(DatasetItem):
    """One dataset with its columns and where it comes from."""

    facts: dict[str, Any]
    parents: list[Link]
    children: list[Link]

    def text(self) -> str:
        """A line for the dataset and one a column."""
        lines = [super().text()]
        for column in self.facts.get("columns", []):
            text = column.get("text")
            mean = f", {text['mean']} characters on average, {text['tokens']} tokens" if text else ""
            lines.append(f"- {column['name']}: {column['type']}, {column['missing']} missing{mean}")
        if likely := self.facts.get("suggested"):
            columns = ", ".join(f"{target} = {source}" for target, source in likely["columns"].items())
            lines.append(f"Likely mapping, as {likely['kind']}: {columns}")
        if isinstance(tokens := self.facts.get("tokens"), dict):
            sides = f"{tokens['train']} to train on, {tokens['held_out']} held out"
            lines.append(f"Tokens: {sides} ({tokens['by']})")
        lines += [_did(step) for step in self.facts.get("steps", [])]
        if origin := self.facts.get("origin"):
            lines.append(f"Questions of documents by {origin['by']}")
        if self.parents:
            lines.append(f"Built from {', '.join(parent.name for parent in self.parents)}.")
        return "\n".join(lines)


def _did(step: dict[str, Any]) -> str:
    """What a step did, by its own counts."""
    did = ", ".join(f"{name} {count}" for name, count in step.items() if name not in ("step", "rows"))
    return f"{step['step']}: {step.get('rows', 0)} rows{f', {did}' if did else ''}"


class StepItem(_Answer):
    """A step that may be declared, and the JSON schema of each of its settings."""

    name: str
    about: str
    kinds: list[str]
    settings: dict[str, Any]


class StepList(_Answer):
    """What may be done to rows."""

    items: list[StepItem]

    def text(self) -> str:
        """One line a step."""
        return "\n".join(
            f"{step.name} ({', '.join(step.kinds)}): {' '.join(step.about.split())} "
            f"Settings: {', '.join(step.settings) or 'none'}"
            for step in self.items
        )


class TokenCounts(_Answer):
    """Tokens of the rows that are shown."""

    by: str
    total: int
    mean: float
    longest: int


class Prepared(_Answer):
    """The first rows of a dataset as steps make them."""

    kind: Kind
    read: int
    rows: int
    steps: list[dict[str, Any]]
    later: list[str]
    tokens: TokenCounts
    unreadable: list[str]
    examples: list[dict[str, Any]]

    def text(self) -> str:
        """Counts, reasons and the examples, a line each."""
        lines = [f"{self.read} rows became {self.rows} of the kind {self.kind}"]
        lines += [_did(step) for step in self.steps]
        if self.later:
            lines.append(f"Done when it is built: {', '.join(self.later)}")
        lines.append(f"Tokens: {self.tokens.mean} a row, {self.tokens.longest} at most ({self.tokens.by})")
        lines += [f"cannot be used: {reason}" for reason in self.unreadable]
        return "\n".join([*lines, *(json.dumps(row, ensure_ascii=False) for row in self.examples)])


class Finding(_Answer):
    """A rule that some rows break."""

    level: str
    rule: str
    count: int
    examples: list[str]


class Checked(_Answer):
    """What was found; with `job_id` a job is still looking."""

    rows: int | None = None
    errors: int | None = None
    warnings: int | None = None
    findings: list[Finding] = []
    job_id: str | None = None

    def text(self) -> str:
        """A line for the whole and one a finding."""
        if self.job_id:
            return f"The dataset is long: job {self.job_id} checks it."
        head = f"{self.rows} rows, {self.errors} errors, {self.warnings} warnings"
        told = (f"{f.level}: {f.rule}, {f.count} times, such as {f.examples[0]}" for f in self.findings)
        return "\n".join([head, *told])


class Deleted(_Answer):
    """A dataset that is gone."""

    dataset: str
