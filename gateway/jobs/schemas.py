"""Jobs on the wire."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from rlhf.jobs import FIRST, LAST, NORMAL, Resource
from rlhf.registry import NAME

Method = Literal["sft", "dpo", "kto", "reward", "embedding", "classifier"]


class _Asked(BaseModel):
    model_config = ConfigDict(extra="forbid")

    title: str = Field(default="", max_length=200)
    priority: int = Field(default=NORMAL, ge=FIRST, le=LAST)
    """1 goes first."""
    resource: Resource = "cpu"
    """`gpu` waits for one and computes on it, unless a recipe names a device; where there is none, the log
    says so and the processor computes.
    """


class TrainIn(_Asked):
    """Train on a dataset of the project."""

    kind: Literal["train"]
    dataset: str
    """Id or name."""
    method: Method = "dpo"
    recipe: dict[str, Any] = Field(default_factory=dict)
    """What differs from the method's own recipe."""
    name: str = Field(default="", pattern=f"^({NAME})?$")
    """Of the result in the registry; by default its parent's, or one made of dataset and method."""
    base: str = Field(default="", max_length=4096)
    """transformers folder that is trained: a name in DATA/models or, for admins, any path of the server."""
    parent: str = Field(default="", pattern=rf"^({NAME}(@[A-Za-z0-9:_-]{{1,80}})?)?$")
    """Version of the registry to go on from: `NAME`, which is what is live, or `NAME@VERSION`."""


class PipelineIn(_Asked):
    """Run a pipeline. For admins: its steps may name any file of the server."""

    kind: Literal["pipeline"]
    spec: dict[str, Any]
    parameters: dict[str, Any] = Field(default_factory=dict)


class CheckIn(_Asked):
    """Compare the prepared models with their record. For admins."""

    kind: Literal["check"]


JobIn = Annotated[TrainIn | PipelineIn | CheckIn, Field(discriminator="kind")]


class ProgressOut(BaseModel):
    done: float
    """0 to 1."""
    text: str = ""
    rate: float | None = None
    """Units a second."""
    left_s: float | None = None


class PartOut(BaseModel):
    """A step of a pipeline."""

    name: str
    kind: str
    state: str | None
    error: str
    progress: ProgressOut | None
    waits_for_approval: bool
    reused: bool
    seconds: float | None


class JobOut(BaseModel):
    """Times are Unix times in seconds."""

    id: str
    kind: str
    title: str
    state: Literal["queued", "running", "done", "failed", "cancelled"]
    error: str
    progress: ProgressOut | None
    priority: int
    resource: Resource
    project_id: str | None
    created_at: float
    started_at: float | None
    ended_at: float | None


class JobDetail(JobOut):
    asked: dict[str, Any]
    result: Any
    steps: list[PartOut]


class LineOut(BaseModel):
    seq: int
    at: float
    level: str
    text: str
    step: str


class ApprovalIn(BaseModel):
    """The answer to a step that waits."""

    model_config = ConfigDict(extra="forbid")

    step: str
    approved: bool
    note: str = Field(default="", max_length=2000)
