"""Accounts on the wire."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel, ConfigDict, Field

from gateway.policy import Scope


class Me(BaseModel):
    id: str
    name: str
    role: str


class KeyIn(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: str = Field(min_length=1, max_length=80)
    scopes: list[Scope] = Field(default=[Scope.CHAT, Scope.TOOLS])
    project: str | None = None
    """Binds the key to one project (id or name)."""
    expires_at: datetime | None = None


class KeyOut(BaseModel):
    id: str
    name: str
    prefix: str
    scopes: list[str]
    project_id: str | None
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None


class NewKey(KeyOut):
    """`key` is shown this once; only its hash is kept."""

    key: str
