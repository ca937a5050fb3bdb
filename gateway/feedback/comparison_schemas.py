"""A choice between two answers, on the wire. Nothing here says which model an answer is of."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Choice = Literal["left", "right", "tie", "both_bad"]


class ComparisonIn(BaseModel):
    """Asks for a second answer. What is left out is chosen: another model that is served, else the same one
    at another temperature."""

    model_config = ConfigDict(extra="forbid")

    message_id: str
    model: str | None = Field(default=None, min_length=1, max_length=300)
    temperature: float | None = Field(default=None, ge=0, le=2)


class ChoiceIn(BaseModel):
    """`null` takes the choice back."""

    model_config = ConfigDict(extra="forbid")

    choice: Choice | None


class ComparisonOut(BaseModel):
    """`left` and `right` are the texts of the answers, in an order that says nothing."""

    id: str
    message_id: str
    left: str
    right: str
    choice: Choice | None
    created_at: datetime
    updated_at: datetime
