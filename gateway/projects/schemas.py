"""Projects on the wire."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel, ConfigDict, Field

NAME = r"^[a-z0-9][a-z0-9_-]{0,62}$"


class ProjectIn(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: str = Field(pattern=NAME)
    title: str | None = Field(default=None, max_length=120)
    icon: str = Field(default="folder", max_length=40)
    colour: str = Field(default="#4f46e5", pattern=r"^#[0-9a-fA-F]{6}$")


class ProjectOut(BaseModel):
    id: str
    name: str
    title: str
    icon: str
    colour: str
    created_at: datetime
    documents: int
    databases: int
