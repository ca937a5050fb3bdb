"""One observation (a span, a generation, a tool call ...) and how it gets into the file."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from gateway.traces.values import dumped, loaded, now, packed, unpacked

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
_KEPT = {"project", "trace", "id", "created"}
_MARKS = ", ".join("?" * len(COLUMNS))
_CHANGES = ", ".join(f"{name} = excluded.{name}" for name in COLUMNS if name not in _KEPT)
_UPSERT = f"""
INSERT INTO observations ({", ".join(COLUMNS)}) VALUES ({_MARKS})
ON CONFLICT (project, trace, id) DO UPDATE SET {_CHANGES} RETURNING row
"""  # noqa: S608 - the names are those above
_TRACE = """
INSERT INTO traces (project, id, name, started, ended, session, user, environment, release, version, public,
                    tags, adapter, created, updated)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (project, id) DO UPDATE SET
  name = coalesce(excluded.name, name), started = min(started, excluded.started),
  ended = max(coalesce(ended, excluded.ended), coalesce(excluded.ended, ended)),
  session = coalesce(excluded.session, session), user = coalesce(excluded.user, user),
  environment = CASE WHEN excluded.environment = 'default' THEN environment ELSE excluded.environment END,
  release = coalesce(excluded.release, release), version = coalesce(excluded.version, version),
  public = max(public, excluded.public), tags = coalesce(excluded.tags, tags),
  adapter = coalesce(excluded.adapter, adapter), updated = excluded.updated
"""


def insert(connection: sqlite3.Connection, project: int, observations: Iterable[Observation]) -> None:
    """Writes observations and what they say of their traces. One that is there already is replaced: clients
    send again what they got no answer for."""
    at = now()
    for o in observations:
        values = (
            *(project, o.trace, o.id, o.parent, int(o.root), o.type, o.name, o.started, o.ended, o.level),
            *(o.environment, o.version, o.release, o.session, o.user, o.trace_name, _tags(o), o.model),
            *(o.base, o.adapter, o.prompt_hash, at, at),
        )
        (row,) = connection.execute(_UPSERT, values).fetchone()
        connection.execute("INSERT OR REPLACE INTO bodies VALUES (?, ?)", (row, packed(o.body)))
        note_trace(connection, project, o)


def note_trace(connection: sqlite3.Connection, project: int, o: Observation) -> None:
    """Writes what an observation says of its trace; a later word wins over an earlier one."""
    at = now()
    name = o.trace_name or (o.name if o.root else None)
    values = (
        *(project, o.trace, name, o.started, o.ended, o.session, o.user, o.environment),
        *(o.release, o.version, int(o.public), _tags(o), o.adapter, at, at),
    )
    connection.execute(_TRACE, values)


def _tags(o: Observation) -> str | None:
    return dumped(sorted(set(o.tags))) if o.tags else None


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


def tags_of(row: sqlite3.Row) -> list[str]:
    tags: list[str] = loaded(row["tags"]) or []
    return tags
