"""Databases on the wire. The address goes in and never comes out."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel, ConfigDict, Field, SecretStr

NAME = r"^[A-Za-z][A-Za-z0-9_-]{0,62}$"


class DatabaseIn(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: str = Field(pattern=NAME)
    url: SecretStr
    """SQLAlchemy address: sqlite:////absolute/path or postgresql://user:password@host/name."""


class DatabaseOut(BaseModel):
    id: str
    name: str
    dialect: str
    tables: int
    created_at: datetime


class QueryIn(BaseModel):
    model_config = ConfigDict(extra="forbid")

    sql: str = Field(min_length=1, max_length=20_000)
