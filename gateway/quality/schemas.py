"""The quality of an adapter on the wire."""

from __future__ import annotations

from pydantic import BaseModel

from gateway.quality.measures import State


class ShareOut(BaseModel):
    """`bad` of `all`."""

    bad: int
    all: int


class MeasureOut(BaseModel):
    """A share now, beside that before; `low` and `high` bound the difference at 99 %."""

    name: str
    state: State
    reason: str
    before: ShareOut
    now: ShareOut
    low: float | None
    high: float | None


class QualityOut(BaseModel):
    """How the live version of an adapter answers, beside what answered in the days before it went live."""

    name: str
    version: str
    """Digest of the live version."""
    state: State
    """The most alarming of the measures; `unknown` where there is too little to compare."""
    reason: str
    began: str | None
    """When it answered first, as far as traces tell."""
    days: int
    """Of the window on either side."""
    cut: bool
    """There are more traces than are looked at: the newest are."""
    measures: list[MeasureOut]
    at: str
    """When this was looked at."""
