"""Conversations on the wire."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import BaseModel


class ConversationOut(BaseModel):
    id: str
    title: str
    agent: str
    created_at: datetime
    updated_at: datetime


class MessageOut(BaseModel):
    """`steps` are the events of the run but for its tokens, each {"event": name, "data": {...}}."""

    id: str
    role: str
    content: str
    state: str
    trace_id: str
    agent: str
    steps: list[dict[str, Any]]
    sources: list[dict[str, Any]]
    usage: dict[str, Any] | None
    timings: dict[str, Any] | None
    error: dict[str, Any] | None
    created_at: datetime


class ConversationWithMessages(ConversationOut):
    messages: list[MessageOut]
