"""Feedback on the wire."""

from __future__ import annotations

from datetime import datetime
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

MARKS = ("thumb", "stars", "comment", "correction")


class FeedbackIn(BaseModel):
    """What a user thinks of an answer. What is not given stays as it was."""

    model_config = ConfigDict(extra="forbid")

    message_id: str
    thumb: Literal["up", "down"] | None = None
    stars: int | None = Field(default=None, ge=1, le=5)
    comment: str | None = Field(default=None, min_length=1, max_length=10_000)
    correction: str | None = Field(default=None, min_length=1, max_length=100_000)
    """The answer as it should have been."""

    @model_validator(mode="after")
    def _something(self) -> Self:
        if all(getattr(self, name) is None for name in MARKS):
            raise ValueError(f"give at least one of {', '.join(MARKS)}")
        return self


class FeedbackOut(BaseModel):
    id: str
    message_id: str
    thumb: Literal["up", "down"] | None
    stars: int | None
    comment: str | None
    correction: str | None
    created_at: datetime
    updated_at: datetime
