"""Datasets on the wire."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from gateway.datasets.store import Dataset
from rlhf.data.kinds import Name
from rlhf.data.split import KEYS, Key
from rlhf.data.steps import Declared

NAME = r"^[A-Za-z0-9][\w. -]{0,99}$"
Part = Literal["data", "train", "held_out", "manifest", "card"]
Target = Literal["original", "trl", "trlx", "csv"]


class BuildIn(BaseModel):
    """A dataset that can be trained on, from files of rows of one kind."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(pattern=NAME)
    sources: list[str] = Field(min_length=1, max_length=50)
    """Uploaded datasets of the project, by id or name."""
    held_out: float = Field(default=0.2, gt=0, lt=1)
    """Share of the rows that nobody trains on."""
    seed: int = Field(default=0, ge=0, le=2**31)
    redact_pii: bool = False
    split_by: list[Key] = Field(default=list(KEYS), min_length=1)
    """What keeps rows on one side."""
    kind: Name | None = None
    """What the rows are; otherwise the shape of the files says it."""
    mapping: dict[str, str] = Field(default_factory=dict, max_length=50)
    """Column of the row to column of the files, where these are called otherwise: it goes before `steps`."""
    steps: Declared = Field(default_factory=list)
    """What is done to rows, each with its settings; `GET /datasets/steps` lists them."""

    def declared(self) -> list[dict[str, dict[str, Any] | None]]:
        """All steps, the mapping as the first."""
        return mapped_first(self.mapping, self.steps)


class PreviewIn(BaseModel):
    """What a file would be as rows."""

    model_config = ConfigDict(extra="forbid")

    kind: Name | None = None
    mapping: dict[str, str] = Field(default_factory=dict, max_length=50)
    steps: Declared = Field(default_factory=list)
    examples: int = Field(default=5, ge=1, le=50)
    """Rows that are shown."""

    def declared(self) -> list[dict[str, dict[str, Any] | None]]:
        """All steps, the mapping as the first."""
        return mapped_first(self.mapping, self.steps)


def mapped_first(mapping: dict[str, str], steps: Declared) -> list[dict[str, dict[str, Any] | None]]:
    """Steps with a mapping before them, where there is one."""
    return [{"map": {"columns": mapping}}, *steps] if mapping else list(steps)


class StepReport(BaseModel):
    """What a step did: `rows` that came to it, and its own counts beside."""

    model_config = ConfigDict(extra="allow")

    step: str
    rows: int = 0


class TokensOut(BaseModel):
    by: str
    """What counted: a tokenizer, or an estimate."""
    total: int
    mean: float
    longest: int


class PreviewOut(BaseModel):
    kind: Name
    read: int
    """Rows of the file that were looked at: its first ones."""
    rows: int
    """What they became."""
    steps: list[StepReport]
    later: list[str]
    """Steps that are done when a dataset is built, once rows are split."""
    tokens: TokensOut
    unreadable: list[str]
    """The first few that are no rows, with the reason."""
    examples: list[dict[str, Any]]


class StepOut(BaseModel):
    """A step that a dataset may declare."""

    name: str
    about: str
    kinds: list[Name]
    """Of rows that it is for."""
    settings: dict[str, Any]
    """JSON schema by setting."""


class DocumentsIn(BaseModel):
    """A dataset of questions about the project's documents, each with the passage that answers it."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(pattern=NAME, max_length=90)
    kind: Literal["sft", "triplet"] = "sft"
    """`sft`: question, passage and an answer that quotes and cites it; `triplet`: question, passage and a
    passage that is near and no answer."""
    documents: list[str] = Field(default_factory=list, max_length=1000)
    """By id or name; none: all."""
    questions: Literal["auto", "rules", "model"] = "auto"
    """Who asks: a model of the server, or rules (headings and first sentences), which `auto` takes where the
    model is the embedded one."""
    model: str = Field(default="", max_length=200)
    """Its id in the server; empty: the one that answers chats."""
    each: int = Field(default=1, ge=1, le=5)
    """Questions a passage, of a model; by rules one."""
    passages: int = Field(default=500, ge=1, le=5000)
    """Passages that are asked about, at most: drawn from all documents in turn."""
    held_out: float = Field(default=0.2, gt=0, lt=1)
    """Share of the rows that nobody trains on; whole documents."""
    seed: int = Field(default=0, ge=0, le=2**31)
    redact_pii: bool = False
    steps: Declared | None = None
    """As for a build; null: hard negatives are mined for triplets, nothing is done to answers."""


class DatasetOut(BaseModel):
    id: str
    name: str
    kind: Literal["file"] | Name
    """`file` was uploaded; the others were built, and are what the trainings of that kind read."""
    format: str
    state: Literal["ready", "building", "failed", "withdrawn"]
    """`withdrawn`: its rows are gone, because somebody whose rows they were was forgotten."""
    error: str | None
    digest: str
    bytes: int
    rows: int | None
    shape: str | None
    job_id: str | None
    created_at: datetime


class LinkOut(BaseModel):
    id: str
    name: str


class DatasetDetail(DatasetOut):
    """`facts`: columns and text statistics of a file, the manifest of a dataset that was built."""

    facts: dict[str, Any]
    parents: list[LinkOut]
    children: list[LinkOut]


class FindingOut(BaseModel):
    level: Literal["error", "warning"]
    rule: str
    count: int
    examples: list[str]
    """`file:line` and details of the first few."""


class CheckOut(BaseModel):
    """`job_id`: the file is long, the job's result has the rest."""

    rows: int | None = None
    errors: int | None = None
    warnings: int | None = None
    findings: list[FindingOut] = Field(default_factory=list)
    job_id: str | None = None


def dataset_out(row: Dataset) -> DatasetOut:
    return DatasetOut(**_columns(row))


def dataset_detail(row: Dataset, parents: list[Dataset], children: list[Dataset]) -> DatasetDetail:
    return DatasetDetail(
        **_columns(row),
        facts=row.facts,
        parents=[LinkOut(id=one.id, name=one.name) for one in parents],
        children=[LinkOut(id=one.id, name=one.name) for one in children],
    )


def _columns(row: Dataset) -> dict[str, Any]:
    own = {"id", "name", "kind", "format", "state", "error", "digest", "bytes", "job_id", "created_at"}
    rows = row.facts.get("rows")
    total = sum(rows.values()) if isinstance(rows, dict) else rows
    return {**{name: getattr(row, name) for name in own}, "rows": total, "shape": row.facts.get("shape")}
