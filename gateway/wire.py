"""Shapes that every part of the API shares."""

from __future__ import annotations

from typing import Annotated, Generic, TypeVar

from pydantic import AfterValidator, BaseModel

T = TypeVar("T")
Text = Annotated[str, AfterValidator(lambda text: text.replace("\0", ""))]
"""PostgreSQL keeps no NUL in a text."""


class Items(BaseModel, Generic[T]):
    """A list: an object, so that paging can be added without breaking a client."""

    items: list[T]
