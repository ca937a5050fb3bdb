"""Accounts on the wire."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

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


class AdapterOut(BaseModel):
    """A version in the registry of adapters."""

    name: str
    version: str
    aliases: list[str]
    """`live`, `previous` or `candidate`, where one means it."""


class Answered(BaseModel):
    """A version that answered a user."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True)

    adapter_version: str
    observations: int
    first: datetime
    last: datetime


class Lineage(BaseModel):
    """Which adapters a user has to do with."""

    user: str
    answered_by: list[Answered] | None
    """None where the traces are not in the embedded store."""
    taught: list[AdapterOut]
    """Versions whose training saw something of the user, and those that were trained on from them."""


class RemovedTraces(BaseModel):
    traces: int
    observations: int
    scores: int
    items: int
    """Items of datasets that were taken from these traces."""


class AnnotationErased(BaseModel):
    """Of all projects. A task that was made of the user's words goes with everybody's judgements of it."""

    tasks: int
    judgements: int
    """Of these tasks, and on the gateway's own page those that the user gave."""
    rows: int
    """Preferences that thumbs and corrections had given at once."""
    label_studio: int
    """Tasks that were deleted from Label Studio."""


class WithdrawnOut(BaseModel):
    """A dataset whose rows are gone; its manifest stays, with counts and digests."""

    digest: str
    names: list[str]
    """What it was called in projects; none for one that only a command or a pipeline has built."""
    kind: str
    rows: int
    theirs: int
    """Rows that were the user's."""
    adapters: list[str]
    """`name@version` of those that were trained on it."""


class DatasetsErased(BaseModel):
    withdrawn: list[WithdrawnOut]
    copies: int
    """Outputs of steps of pipelines that held such rows, or answers to them."""
    reports: int
    """Of adapters that learnt from such rows; they show no answers any more."""
    unattributed: list[str]
    """Names, or digits, of datasets with rows that name no user: nobody can tell whose they are."""


class Unreached(BaseModel):
    """Where something of the user may be left."""

    place: Literal["traces", "annotation", "datasets", "adapters", "jobs"]
    what: str
    why: str
    remedy: str


class Erased(Lineage):
    """What is gone, and which adapters remain that learnt from it."""

    conversations: int
    feedback: int
    """That the user gave; what goes with the conversations is not counted again."""
    traces: RemovedTraces | None
    annotation: AnnotationErased
    datasets: DatasetsErased
    adapters: list[str]
    """`name@version` of those whose lineage has a pseudonym now, and had the user's id."""
    unreached: list[Unreached]
    """Empty: all of it was reached. Else the erasure is to be run again after the remedies."""
