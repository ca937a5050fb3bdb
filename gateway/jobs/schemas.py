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


class EvaluateIn(_Asked):
    """Compare an adapter of the registry with what is live under its name and with the base, in the model
    server, on the held-out rows of a dataset; nothing is promoted.
    """

    kind: Literal["evaluate"]
    name: str = Field(pattern=f"^{NAME}$")
    """Of the adapter."""
    version: str = Field(default="candidate", pattern=r"^[A-Za-z0-9:_-]{1,80}$")
    """Digits of its digest, or an alias."""
    dataset: str
    """Id or name of a dataset of preferences that was built."""
    judge: Literal["like_chosen", "cite_first", "model", "reward"] = "like_chosen"
    """Two rules, a model of the server, or a reward model."""
    judge_model: str = Field(default="", max_length=4096)
    """Of the judge `model`: its id in the server. Of `reward`: the folder of its training, for admins."""
    prompts: int | None = Field(default=None, ge=1, le=2000)
    """Held-out prompts that are answered, at most; null: what the recipe says, as below."""
    cases: int | None = Field(default=None, ge=0, le=500)
    """Cases of each kind of the suites: tool calls, SQL execution, retrieval."""
    likelihood: int | None = Field(default=None, ge=0, le=2000)
    """Answers whose likelihood is measured."""
    seed: int | None = Field(default=None, ge=0, le=2**31)
    """Draws the cases."""


class PipelineIn(_Asked):
    """Run a pipeline. For admins: its steps may name any file of the server."""

    kind: Literal["pipeline"]
    spec: dict[str, Any]
    parameters: dict[str, Any] = Field(default_factory=dict)


class CheckIn(_Asked):
    """Compare the prepared models with their record. For admins."""

    kind: Literal["check"]


JobIn = Annotated[TrainIn | EvaluateIn | PipelineIn | CheckIn, Field(discriminator="kind")]


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


class CheckedOut(BaseModel):
    """What must hold beside the win rate."""

    name: str
    passed: bool
    detail: str


Shares = dict[str, float]


class ComparisonOut(BaseModel):
    """An adapter beside what is live and the base, as an evaluation has found it. A side is `base`, `current`
    or `candidate`.
    """

    job_id: str
    candidate: str
    current: str
    """Models of the server, by id; where nothing is live under the name, `current` is the base."""
    judge: str
    verdict: str
    """`promote`, `reject` or `not enough data`."""
    reasons: list[str]
    win_rate: float | None
    low: float
    high: float
    """Of the interval of the win rate."""
    wins: int
    losses: int
    ties: int
    flips: int
    """Pairs where the judge said something else when the order was changed."""
    checks: list[CheckedOut]
    kept: Shares | None
    """Share of answers that keep the judge's rule, by side."""
    length_ratio: float
    suites: dict[str, dict[str, Shares]]
    """Suite to side to `count`, `exact`, `valid` and `tool`."""
    likelihood: dict[str, dict[str, Shares]]
    """Sort of answers to side to `perplexity`, `kl` and `tokens`."""
    regression: dict[str, int]
    """Lines of the regression set that a side fails."""
    html: str
    """Where the report is, with pictures and answers side by side; to be read with the same key."""
