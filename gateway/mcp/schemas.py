"""A tool call over plain HTTP."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class ToolCallIn(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: str
    arguments: dict[str, Any] = Field(default_factory=dict)
    project: str | None = None
    """Id or name; the header X-Project or the default project when left out."""


class ToolCallOut(BaseModel):
    name: str
    ok: bool
    content: str
    structured: dict[str, Any] | None
    ms: float
