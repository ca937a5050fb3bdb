"""One observation: a span, a generation, a tool call and so on."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from gateway.traces.values import loaded, unpacked

_TYPES = "SPAN GENERATION EVENT EMBEDDING AGENT TOOL CHAIN RETRIEVER EVALUATOR GUARDRAIL"
TYPES = frozenset(_TYPES.split())


@dataclass
class Observation:
    """Times in microseconds. `body` holds what is shown and never filtered:

    input, output (texts), metadata, statusMessage, modelParameters, usageDetails, costDetails, promptName,
    promptVersion, completionStart (microseconds), and of the trace: traceMetadata, traceInput, traceOutput.
    `base`, `adapter` and `prompt_hash` say which weights and which prompt made it (its lineage).
    """

    id: str
    trace: str
    started: int
    ended: int | None = None
    parent: str | None = None
    root: bool = False
    type: str = "SPAN"
    name: str | None = None
    level: str = "DEFAULT"
    environment: str = "default"
    version: str | None = None
    release: str | None = None
    session: str | None = None
    user: str | None = None
    trace_name: str | None = None
    tags: Sequence[str] = ()
    public: bool = False
    model: str | None = None
    base: str | None = None
    adapter: str | None = None
    prompt_hash: str | None = None
    body: dict[str, Any] = field(default_factory=dict)


_NAMES = (
    "project trace id parent root type name started ended level environment version release session user "
    "trace_name tags model base adapter prompt_hash created updated"
)
COLUMNS = _NAMES.split()


def find(connection: sqlite3.Connection, project: int, trace: str, observation_id: str) -> Observation | None:
    """An observation as it was written, to be changed and written again."""
    query = "SELECT * FROM observations WHERE project = ? AND trace = ? AND id = ?"
    row = connection.execute(query, (project, trace, observation_id)).fetchone()
    return None if row is None else of_row(connection, row)


def of_row(connection: sqlite3.Connection, row: sqlite3.Row) -> Observation:
    fields = {name: row[name] for name in COLUMNS if name not in ("project", "created", "updated")}
    fields["root"] = bool(row["root"])
    fields["tags"] = tuple(tags_of(row))
    return Observation(**fields, body=body_of(connection, row["row"]))


def body_of(connection: sqlite3.Connection, row: int) -> dict[str, Any]:
    found = connection.execute("SELECT body FROM bodies WHERE row = ?", (row,)).fetchone()
    body: dict[str, Any] = unpacked(found[0] if found else None)
    return body


def costs_of(body: dict[str, Any]) -> dict[str, float]:
    """What a client said that an observation cost, in US dollars by kind; what is no number is left out."""
    said = body.get("costDetails")
    costs = said.items() if isinstance(said, dict) else ()
    return {kind: cost for kind, cost in costs if isinstance(cost, int | float)}


def cost_of(body: dict[str, Any]) -> float | None:
    """All of it; None where nothing was said."""
    numbers = costs_of(body)
    return numbers.get("total", sum(numbers.values())) if numbers else None


def tags_of(row: sqlite3.Row) -> list[str]:
    tags: list[str] = loaded(row["tags"]) or []
    return tags
