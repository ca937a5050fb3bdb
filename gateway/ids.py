"""Identifiers: UUIDv7 as text (RFC 9562), so that they sort by the time they were made."""

from __future__ import annotations

from uuid_utils import uuid7


def new_id() -> str:
    return str(uuid7())
