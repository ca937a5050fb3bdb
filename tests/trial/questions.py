"""The questions of the trial with what a right answer holds, as read from `questions/*.yaml`."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

FOLDER = Path(__file__).with_name("questions")


class Strict(BaseModel):
    """A frozen record whose unknown keys are errors, so that a typing mistake cannot soften a question."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class DocumentQuestion(Strict):
    """A question that documents answer."""

    id: str
    question: str
    pages: list[str] = Field(min_length=1)
    """File names of all the pages that truly answer."""
    evidence: str
    """A piece of one of them, white space and Markdown marks apart."""


class Compare(Strict):
    """How a result is held against the right one."""

    kind: Literal["scalar", "rows", "set"]
    columns: list[int] = Field(min_length=1)
    """Columns of the right result, counted from 1, that the other one must have."""


class DatabaseQuestion(Strict):
    """A question that a database answers."""

    id: str
    question: str
    sql: str
    """A right query."""
    compare: Compare
    figures: list[str]
    """What an answer in words must say."""


def document_questions(name: str) -> list[DocumentQuestion]:
    """The questions of `questions/<name>.yaml`."""
    return TypeAdapter(list[DocumentQuestion]).validate_python(_read(name))


def database_questions(name: str) -> list[DatabaseQuestion]:
    """The questions of `questions/<name>.yaml`."""
    return TypeAdapter(list[DatabaseQuestion]).validate_python(_read(name))


def _read(name: str) -> object:
    return yaml.safe_load((FOLDER / f"{name}.yaml").read_text(encoding="utf-8"))
