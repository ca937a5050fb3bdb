"""What a row of any kind says: what is asked, what is answered, and every text of it changed."""

import json
from collections.abc import Callable, Iterable
from typing import Any, TypeVar, cast

from rlhf.records import Message, PreferenceRow, canonical
from rlhf.shapes import Answered, AnyRow, LabelRow, TripletRow

MESSAGES = ("prompt", "chosen", "rejected", "completion")
"""Columns that are lists of messages."""
TEXTS = ("query", "positive", "negative", "text")
"""Columns that are one text."""
Change = Callable[[str], str]
Kept = TypeVar("Kept", bound=AnyRow)


def asked(row: AnyRow) -> list[Message]:
    """What a row asks, as messages: near-duplicates are looked for in it."""
    if isinstance(row, PreferenceRow | Answered):
        return row.prompt
    text = row.query if isinstance(row, TripletRow) else row.text if isinstance(row, LabelRow) else ""
    return [Message(role="user", content=text)]


def answered(row: AnyRow) -> dict[str, str]:
    """What is answered, by column; empty for a text that is asked alone."""
    columns = (column for column in ("chosen", "rejected", "completion") if hasattr(row, column))
    said = {column: text_of(getattr(row, column)) for column in columns}
    if isinstance(row, TripletRow):
        said["positive"] = row.positive.strip()
        said |= {"negative": row.negative.strip()} if row.negative is not None else {}
    return said


def named(row: AnyRow) -> str:
    """A row's name."""
    return row.pair_id if isinstance(row, PreferenceRow) else row.row_id


def text_of(messages: Iterable[Message]) -> str:
    """What messages say, tool calls included."""
    parts = []
    for message in messages:
        parts.append(message.content or "")
        parts.extend(canonical(call).decode() for call in message.tool_calls or ())
    return "\n".join(parts).strip()


def with_texts(row: Kept, change: Change) -> Kept:
    """The row with every text changed, tools included; ids and traces stay, they are the lineage."""
    changed: dict[str, Any] = {}
    for column in type(row).model_fields:
        value = getattr(row, column)
        if value is None:
            continue
        if column in MESSAGES:
            changed[column] = [_message(message, change) for message in value]
        elif column in TEXTS:
            changed[column] = change(value)
        elif column == "tools":
            changed[column] = in_json(value, change)
    return cast(Kept, row.model_copy(update=changed))


def texts_of(row: AnyRow) -> list[str]:
    """Every text of a row."""
    found: list[str] = []

    def seen(text: str) -> str:
        found.append(text)
        return text

    with_texts(row, seen)
    return found


def _message(message: Message, change: Change) -> Message:
    changed: dict[str, Any] = {}
    if message.content is not None:
        changed["content"] = change(message.content)
    if message.tool_calls is not None:
        changed["tool_calls"] = in_value(message.tool_calls, change)
    return message.model_copy(update=changed)


def in_value(value: Any, change: Change) -> Any:
    """A value of JSON with its texts changed; arguments of a tool call are JSON in a text."""
    if isinstance(value, dict):
        return {
            key: in_json(item, change)
            if key == "arguments" and isinstance(item, str)
            else in_value(item, change)
            for key, item in value.items()
        }
    if isinstance(value, list):
        return [in_value(item, change) for item in value]
    return change(value) if isinstance(value, str) else value


def in_json(text: str, change: Change) -> str:
    """JSON in a text: only strings change, no number that looks like one of a phone."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return change(text)
    changed = in_value(value, change)
    return text if changed == value else json.dumps(changed, ensure_ascii=False)
