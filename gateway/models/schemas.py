"""Models of the registry on the wire."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

NAME = r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$"
REF = r"^[A-Za-z0-9:_-]{1,80}$"


class VersionOut(BaseModel):
    """`digest` names the content; `aliases` are what means this version."""

    name: str
    version: str
    """The first twelve digits."""
    kind: str
    """`adapter`, which can be deployed, or `model`, `reward`, `encoder`, `classifier`."""
    digest: str
    aliases: list[str]
    created_at: str
    base: str | None
    parent: str | None
    """Digest of the version that it was trained on from."""
    pairs: int
    """Rows that it was trained on."""
    bytes: int


class ModelOut(BaseModel):
    name: str
    aliases: dict[str, str]
    versions: list[VersionOut]


class VersionDetail(VersionOut):
    lineage: dict[str, Any]
    checksums: dict[str, str]
    """SHA-256 by file."""
    report: dict[str, Any] | None
    served: bool | None
    """Whether the model server has this version loaded; null where it does not say."""


class TraceLink(BaseModel):
    trace_id: str
    generation_id: str | None = None
    model: str | None = None


class LineageOut(BaseModel):
    """Where a version comes from, and what came of it."""

    traces: list[TraceLink]
    users: list[str]
    sessions: list[str]
    parent: str | None
    children: list[str]
    """`name@version` of those that were trained on from it."""


class ChoiceIn(BaseModel):
    """A version: some digits of its digest, or an alias."""

    model_config = ConfigDict(extra="forbid")

    version: str = Field(pattern=REF)
    chats: bool = True
    """Let chats use the adapter once it is deployed."""


class DeployedOut(BaseModel):
    name: str
    live: str
    """Digest that the name means now, in the registry and in the model server."""
    previous: str | None
    parity: float | None = None
    """Share of positions at which the model server and PEFT chose the same token; null where nothing was
    compared, because the version had been live before.
    """
    positions: int | None = None
    """How many were compared."""
