"""Pipelines on the wire: checked, and run by themselves."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

NAME = r"^[a-z][a-z0-9_-]{0,39}$"


class SpecIn(BaseModel):
    """A pipeline with its parameters."""

    model_config = ConfigDict(extra="forbid")

    spec: dict[str, Any]
    parameters: dict[str, Any] = Field(default_factory=dict)


class StepOut(BaseModel):
    name: str
    kind: str
    resource: str
    after: list[str]


class PlanOut(BaseModel):
    """In an order in which they can run."""

    steps: list[StepOut]


class ScheduleOut(BaseModel):
    """Times are Unix times in seconds."""

    name: str
    when: str
    """In words."""
    parameters: dict[str, Any]
    seen_at: float
    """Of its last run, or of when it was put here."""
    job_id: str | None
    """Of the job that was asked for last."""
