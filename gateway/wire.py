"""Shapes that every part of the API shares."""

from __future__ import annotations

from typing import Generic, TypeVar

from pydantic import BaseModel

T = TypeVar("T")


class Items(BaseModel, Generic[T]):
    """A list: an object, so that paging can be added without breaking a client."""

    items: list[T]
