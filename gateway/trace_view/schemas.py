"""Traces on the console's wire. Times are ISO 8601, durations milliseconds."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

Short = Annotated[str, StringConstraints(min_length=1, max_length=200)]
MOST = 100
"""Most traces of a page that is asked for."""


class TraceQuery(BaseModel):
    """Which traces a list shows; what is not given does not matter."""

    model_config = ConfigDict(extra="forbid")

    project: Short | None = None
    """By id or name."""
    user: Short | None = None
    session: Short | None = None
    """The conversation, for a chat."""
    name: Short | None = None
    """The agent, for a chat."""
    model: Short | None = None
    """A part of the model's exact name, so that an adapter or one version of it can be asked for."""
    scored: bool = False
    thumb: Literal["up", "down"] | None = None
    level: Literal["ERROR"] | None = None
    text: Short | None = None
    """In the question or the answer, in any case."""
    since: datetime | None = None
    before: datetime | None = None
    limit: int = Field(default=30, ge=1, le=MOST)
    cursor: Annotated[str, StringConstraints(max_length=500)] | None = None


class Tokens(BaseModel):
    input: int = 0
    output: int = 0
    total: int = 0


class Score(BaseModel):
    """`span`: what it is about, None for the whole trace."""

    id: str
    name: str
    kind: str
    value: bool | float | str
    comment: str | None
    span: str | None
    at: datetime


class TraceRow(BaseModel):
    """A trace in a list. `model_ms`, `tools_ms`: its time in models and in tools. `cost`: in US dollars, None
    where nothing says what it cost."""

    id: str
    name: str | None
    project: str | None
    """The project's name; None for a trace that no chat of this gateway made."""
    user: str | None
    session: str | None
    conversation_id: str | None
    message_id: str | None
    started_at: datetime
    ms: float | None
    model_ms: float
    tools_ms: float
    question: str
    answer: str
    models: list[str]
    adapter: str | None
    tokens: Tokens
    cost: float | None
    spans: int
    errors: int
    scores: list[Score]


class TracePage(BaseModel):
    """`cursor` leads to the next page; a page may be short, or empty, before the last one."""

    items: list[TraceRow]
    cursor: str | None


class Span(BaseModel):
    """One observation. `offset_ms` counts from the start of the trace; `first_ms` from its own start."""

    id: str
    parent: str | None
    depth: int
    name: str | None
    kind: str
    started_at: datetime
    offset_ms: float
    ms: float | None
    first_ms: float | None
    level: str
    status: str | None
    model: str | None
    adapter: str | None
    tokens: Tokens | None
    cost: float | None


class Trace(TraceRow):
    """`tree` lists the spans as they are read: each one before those inside it."""

    tree: list[Span]
    truncated: bool
    """There are more spans than are shown."""


class Scored(BaseModel):
    """A piece of text and the natural logarithm of its probability."""

    token: str
    logprob: float


class ScoredToken(Scored):
    top_logprobs: list[Scored] = []
    """What else could have stood there, the likeliest first."""


class Logprobs(BaseModel):
    """Of the tokens of an answer; `content` has the first of them where there were more (`tokens`)."""

    tokens: int
    content: list[ScoredToken]


class SpanDetail(BaseModel):
    """What went in and out of a span: JSON where it is, else a text. A text over its limit is cut."""

    id: str
    input: Any
    output: Any
    metadata: dict[str, Any]
    parameters: dict[str, Any]
    logprobs: Logprobs | None
    cut: bool
