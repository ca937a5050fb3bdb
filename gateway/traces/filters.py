"""The `filter` parameter: a JSON list of conditions, as Langfuse's public API has them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from gateway.traces.attributes import ADAPTER, BASE, PROMPT_HASH
from gateway.traces.conditions import Conditions
from gateway.traces.errors import BadTrace, UnknownColumn
from gateway.traces.values import micros

OBSERVATIONS: Mapping[str, str] = {
    "id": "id",
    "type": "type",
    "name": "name",
    "traceId": "trace",
    "startTime": "started",
    "endTime": "ended",
    "environment": "environment",
    "level": "level",
    "version": "version",
    "release": "release",
    "userId": "user",
    "sessionId": "session",
    "isRootObservation": "root",
    "parentObservationId": "parent",
    "traceName": "trace_name",
    "model": "model",
    "tags": "tags",
    "traceTags": "tags",
    "latency": "(ended - started) / 1e6",
    f"metadata.{ADAPTER}": "adapter",
    f"metadata.{BASE}": "base",
    f"metadata.{PROMPT_HASH}": "prompt_hash",
}
TRACES: Mapping[str, str] = {
    "id": "id",
    "traceId": "id",
    "name": "name",
    "timestamp": "started",
    "userId": "user",
    "sessionId": "session",
    "environment": "environment",
    "release": "release",
    "version": "version",
    "public": "public",
    "tags": "tags",
    "latency": "(ended - started) / 1e6",
    f"metadata.{ADAPTER}": "adapter",
}
"""Columns of the two lists by the names of clients; of the metadata, the keys that have a column
of their own. Filters on anything else are refused, not ignored."""
COMPARISONS = {"=", "<>", ">", "<", ">=", "<="}
LIKE = {"contains": "%{}%", "does not contain": "%{}%", "starts with": "{}%", "ends with": "%{}"}


class Condition(BaseModel):
    type: str
    column: str
    operator: str
    value: Any = None
    key: str | None = None


def apply(conditions: Conditions, text: str, columns: Mapping[str, str]) -> None:
    """Adds what a filter on these columns asks for. Raises BadTrace for what this store cannot answer."""
    try:
        entries = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadTrace(f"filter is no JSON: {error}") from error
    if not isinstance(entries, list):
        raise BadTrace("filter must be a list of conditions.")
    for entry in entries:
        _add(conditions, Condition.model_validate(entry), columns)


def _add(conditions: Conditions, c: Condition, columns: Mapping[str, str]) -> None:
    named = f"metadata.{c.key}" if c.column == "metadata" else c.column
    if (column := columns.get(named)) is None:
        raise UnknownColumn(f"No filter on {named!r} here. Columns: {', '.join(columns)}.")
    if c.operator in ("is null", "is not set", "is not null", "is set"):
        conditions.add(f"{column} IS {'NOT ' if c.operator in ('is not null', 'is set') else ''}NULL")
    elif c.type == "arrayOptions":
        _add_array(conditions, column, c)
    elif c.operator in ("any of", "none of"):
        conditions.any_of(column, [_scalar(v) for v in _list(c)], negated=c.operator == "none of")
    elif c.operator in LIKE and "\0" in str(c.value):
        raise BadTrace("A text that is looked for cannot hold the character NUL.")  # LIKE would stop there
    elif c.operator in LIKE:
        negated = "NOT " if c.operator.startswith("does not") else ""
        conditions.add(
            f"{column} {negated}LIKE ? ESCAPE '\\'", LIKE[c.operator].format(_escaped(str(c.value)))
        )
    elif c.operator == "=" and column == "root":
        conditions.add("root = 1" if _scalar(c.value) == 1 else "root = 0")  # as its index has it
    elif c.operator == "=" and c.type != "datetime":
        conditions.equal(column, _scalar(c.value))
    elif c.operator in COMPARISONS:
        value = micros(c.value) if c.type == "datetime" else _scalar(c.value)
        conditions.add(f"{column} {c.operator} ?", value)
    else:
        raise BadTrace(f"No operator {c.operator!r} here.")


def _add_array(conditions: Conditions, column: str, c: Condition) -> None:
    """Tags are stored as a JSON list."""
    wanted = [_scalar(value) for value in _list(c)]
    inside = f"EXISTS (SELECT 1 FROM json_each({column}) WHERE value = ?)"  # noqa: S608 - ours
    if c.operator == "all of":
        for value in wanted:
            conditions.add(inside, value)
    elif c.operator in ("any of", "none of"):
        either = " OR ".join([inside] * len(wanted)) or "0"
        conditions.add(f"{'NOT ' if c.operator == 'none of' else ''}({either})", *wanted)
    else:
        raise BadTrace(f"No operator {c.operator!r} for a list.")


def _list(c: Condition) -> list[Any]:
    if not isinstance(c.value, list):
        raise BadTrace(f"{c.operator!r} on {c.column!r} needs a list of values.")
    return c.value


def _scalar(value: Any) -> str | int | float:
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, str | int | float):
        return value
    raise BadTrace(f"A filter cannot compare with {value!r}.")


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
