"""The shapes of the data server's answers, and the text of each for a model."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict


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
            mean = f", {text['mean']} characters on average" if text else ""
            lines.append(f"- {column['name']}: {column['type']}, {column['missing']} missing{mean}")
        if self.parents:
            lines.append(f"Built from {', '.join(parent.name for parent in self.parents)}.")
        return "\n".join(lines)


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
