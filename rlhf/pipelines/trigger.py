"""When a pipeline is run without being asked: its block `schedule`. Free of what computes."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

NAME = re.compile(r"[a-z][a-z0-9_-]{0,39}")


class Model(BaseModel):
    """A block of a specification."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, use_attribute_docstrings=True, populate_by_name=True
    )


class Trigger(Model):
    """When it is run without being asked; see `schedule`."""

    cron: str | None = None
    rows: str | None = None
    """JSON lines of preferences that grow."""
    project: str | None = None
    """A project of the gateway whose preferences grow, wherever they are given; instead of `rows`."""
    new_rows: Annotated[int, Field(ge=1)] | None = None
    adapter: str | None = None
    """The name whose quality `quality` is about."""
    quality: Literal["watch", "worse"] | None = None
    """The gateway sees that the live version of `adapter` answers worse, or that it may; once a version."""
    drift: Annotated[float, Field(gt=0)] | None = None
    """Population stability index of the rows since the last run against those before."""
