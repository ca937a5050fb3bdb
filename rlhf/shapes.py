"""Rows of other trainings than preferences: answers, thumbs, triplets, labels. Free of torch.

Messages and provenance are those of `records`; a file is read as a whole or refused with file, line, reason.
"""

import json
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self, TypeVar

from pydantic import AwareDatetime, Field, model_validator

from rlhf.records import (
    UTC_TIME,
    Made,
    Message,
    PreferenceRow,
    Source,
    Strict,
    Trace,
    canonical,
    scan_shape,
    without_nothing,
)

Text = Annotated[str, Field(min_length=1)]


class Passage(Strict):
    """The passage of a document that a row is about."""

    document: str
    name: str
    """Of the document's file."""
    page: int | None = None
    section: str | None = None
    chunk: int
    """Place of the passage in its document, from 0."""


class Row(Strict):
    """What every row has: a name, and where it comes from."""

    NAMED_BY: ClassVar[tuple[str, ...]] = ()
    """Columns whose content makes the name of a row that has none."""

    row_id: str = ""
    session: str | None = None
    user: str | None = None
    trace: Trace | None = None
    at: Annotated[AwareDatetime, UTC_TIME] | None = None
    passage: Passage | None = None
    made: Made | None = None

    @model_validator(mode="before")
    @classmethod
    def _named(cls, row: Any) -> Any:
        if isinstance(row, dict) and row.get("row_id") in (None, ""):
            parts = [row.get(column) for column in cls.NAMED_BY]
            return {**row, "row_id": sha256(canonical(parts)).hexdigest()[:16]}
        return row

    def plain(self) -> dict[str, Any]:
        """As JSON."""
        row = without_nothing(self.model_dump(mode="json"))
        for column in ("prompt", "completion"):
            if column in row:
                row[column] = [message.plain() for message in getattr(self, column)]
        return row

    def line(self) -> str:
        """As one line of JSON, without its end."""
        return json.dumps(self.plain(), ensure_ascii=False)

    def digest(self) -> str:
        """SHA-256 of the row, whatever the order of its keys."""
        return sha256(canonical(self.plain())).hexdigest()


class Answered(Row):
    """A prompt and what was said to it."""

    NAMED_BY: ClassVar[tuple[str, ...]] = ("prompt", "completion", "tools")

    prompt: list[Message] = Field(min_length=1)
    completion: list[Message] = Field(min_length=1)
    tools: str | None = None
    """The tools that the model was offered: OpenAI's list as a JSON string, or null."""

    @model_validator(mode="after")
    def _begins_with_the_assistant(self) -> Self:
        first = self.completion[0].role
        if first != "assistant":
            raise ValueError(f"completion starts with a message of the {first}, not the assistant")
        if self.tools is not None and not _is_list(self.tools):
            raise ValueError("tools is no JSON list")
        return self


class SftRow(Answered):
    """An answer to imitate. `messages` (a whole conversation, every answer in it counts) and `instruction`,
    `input`, `output` are other ways to write one.
    """

    source: Source = "correction"
    weight: float = Field(default=1.0, gt=0, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _other_ways(cls, row: Any) -> Any:
        if not isinstance(row, dict):
            return row
        row = dict(row)
        if "messages" in row and "prompt" not in row and isinstance(row["messages"], list):
            said = row.pop("messages")
            roles = [message.get("role") if isinstance(message, dict) else None for message in said]
            if "assistant" not in roles:
                raise ValueError("messages has no message of the assistant")
            first = roles.index("assistant")
            row |= {"prompt": said[:first], "completion": said[first:]}
        elif {"instruction", "output"} & set(row) and "prompt" not in row:
            if absent := {"instruction", "output"} - set(row):
                raise ValueError(f"has no {min(absent)}")
            parts = [str(row.pop(name, "") or "") for name in ("instruction", "input")]
            asked = "\n\n".join(part for part in parts if part)
            row["prompt"] = [{"role": "user", "content": asked}]
            row["completion"] = [{"role": "assistant", "content": row.pop("output")}]
        return row


class KtoRow(Answered):
    """An answer with a thumb: `label` true is up."""

    NAMED_BY: ClassVar[tuple[str, ...]] = (*Answered.NAMED_BY, "label")

    label: bool = Field(strict=True)
    source: Source = "thumbs"
    weight: float = Field(default=1.0, gt=0, allow_inf_nan=False)


class TripletRow(Row):
    """A query, a text that answers it and, where known, one that does not."""

    NAMED_BY: ClassVar[tuple[str, ...]] = ("query", "positive", "negative")

    query: Text
    """Also written `anchor`."""
    positive: Text
    negative: Text | None = None

    @model_validator(mode="before")
    @classmethod
    def _other_way(cls, row: Any) -> Any:
        if isinstance(row, dict) and "anchor" in row and "query" not in row:
            return {("query" if name == "anchor" else name): value for name, value in row.items()}
        return row


class LabelRow(Row):
    """A text and what it is."""

    NAMED_BY: ClassVar[tuple[str, ...]] = ("text", "label")

    text: Text
    label: Text


AnyRow = PreferenceRow | Row
"""What a dataset may hold."""
Shape = TypeVar("Shape", bound=Row)


def read_shape(path: Path, shape: type[Shape]) -> list[Shape]:
    """The rows of a file of JSON lines.

    Raises:
        BadRecords: rows are bad; names each with file, line and reason.
    """
    return scan_shape(path, shape).whole()


def _is_list(text: str) -> bool:
    try:
        return isinstance(json.loads(text), list)
    except (ValueError, RecursionError):
        return False
