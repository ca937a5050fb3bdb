"""Feedback on the wire."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from gateway.feedback.store import MARKS
from gateway.wire import Text

Thumb = Literal["up", "down"]
Stars = Annotated[int, Field(ge=1, le=5)]
Comment = Annotated[Text, Field(min_length=1, max_length=10_000)]
Correction = Annotated[Text, Field(min_length=1, max_length=100_000)]
"""The answer as it should have been."""


class Marks(BaseModel):
    """What a user thinks of an answer. What is not given stays as it was; null takes it back."""

    model_config = ConfigDict(extra="forbid")

    thumb: Thumb | None = None
    stars: Stars | None = None
    comment: Comment | None = None
    correction: Correction | None = None

    @model_validator(mode="after")
    def _something(self) -> Self:
        if not self.said():
            raise ValueError(f"give at least one of {', '.join(MARKS)}")
        return self

    def said(self) -> dict[str, Any]:
        """The marks that are to change."""
        return {name: getattr(self, name) for name in MARKS if name in self.model_fields_set}


class FeedbackIn(Marks):
    """The same with the answer's id; null says nothing here, as some clients fill in what they do not set."""

    message_id: str

    def said(self) -> dict[str, Any]:
        return {name: value for name, value in super().said().items() if value is not None}


class FeedbackOut(BaseModel):
    id: str
    message_id: str
    thumb: Thumb | None
    stars: int | None
    comment: str | None
    correction: str | None
    created_at: datetime
    updated_at: datetime
