"""The chats' model on the wire."""

from __future__ import annotations

from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field


class Source(StrEnum):
    """Who said which model the chats use."""

    SETTING = "setting"
    """The operator, in GATEWAY_DEFAULT_MODEL."""
    CHOICE = "choice"
    """An admin, or a deployment."""
    SERVER = "server"
    """Nobody: it is the model server's first chat model."""


class ServedOut(BaseModel):
    """A model that could answer chats. `base` is what an adapter is put on."""

    id: str
    base: str | None
    context: int
    """Tokens of prompt and answer together."""
    answers_chats: bool
    """Whether it answers agents that name no model."""


class ChatModelOut(BaseModel):
    """What agents that name no model are answered by."""

    model: str | None
    """What answers now; null where nothing can."""
    wanted: str
    """What was chosen, or is set; empty for the model server's first chat model."""
    source: Source
    problem: str | None
    """Why another model answers than the one that is wanted, or none, and what to do about it."""


class ChatModelIn(BaseModel):
    """A served model by its id, an adapter also by its name alone; null for the server's first chat model."""

    model_config = ConfigDict(extra="forbid")

    model: str | None = Field(min_length=1, max_length=200)
