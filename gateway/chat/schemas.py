"""A question on the wire."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

MESSAGE_CHARACTERS = 100_000


class ChatIn(BaseModel):
    """`retry` names an answer that stopped early and goes on from its last step; it needs no `message`."""

    model_config = ConfigDict(extra="forbid")

    agent: str = "general"
    message: str = Field(default="", max_length=MESSAGE_CHARACTERS)
    conversation_id: str | None = None
    retry: str | None = None
