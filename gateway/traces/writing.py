"""Getting observations into the file: put together beside the writer, written in a handful of statements.

The writer is one thread, and Python lets one thread run at a time: with a statement for each row it would
have to ask for its turn a thousand times a batch. So a batch goes to SQLite as JSON, which takes it apart by
itself while other threads read the next one.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass

from gateway.traces.observations import COLUMNS, Observation
from gateway.traces.values import dumped, now, packed

_KEPT = {"project", "trace", "id", "created"}
_CHANGES = ", ".join(f"{name} = excluded.{name}" for name in COLUMNS if name not in _KEPT)
_COLUMNS = ", ".join(f"value->>{place}" for place in range(len(COLUMNS) - 3))
# ?1 the project, ?2 the time, ?3 the rows. "WHERE true" keeps ON CONFLICT from being read as a join's.
_OBSERVATIONS = f"""
INSERT INTO observations ({", ".join(COLUMNS)}) SELECT ?1, {_COLUMNS}, ?2, ?2 FROM json_each(?3) WHERE true
ON CONFLICT (project, trace, id) DO UPDATE SET {_CHANGES}
"""  # noqa: S608 - the names are those above
# ?2: trace, id, where the body begins in ?3 and how long it is.
_BODIES = """
INSERT OR REPLACE INTO bodies SELECT o.row, substr(?3, j.value->>2, j.value->>3)
FROM json_each(?2) AS j CROSS JOIN observations AS o
WHERE o.project = ?1 AND o.trace = j.value->>0 AND o.id = j.value->>1
"""
_NOTE = "id name started ended session user environment release version public tags adapter"
_TRACES = f"""
INSERT INTO traces (project, {", ".join(_NOTE.split())}, created, updated)
SELECT ?1, {", ".join(f"value->>{place}" for place in range(len(_NOTE.split())))}, ?2, ?2
FROM json_each(?3) WHERE true
ON CONFLICT (project, id) DO UPDATE SET
  name = coalesce(excluded.name, name), started = min(started, excluded.started),
  ended = max(coalesce(ended, excluded.ended), coalesce(excluded.ended, ended)),
  session = coalesce(excluded.session, session), user = coalesce(excluded.user, user),
  environment = CASE WHEN excluded.environment = 'default' THEN environment ELSE excluded.environment END,
  release = coalesce(excluded.release, release), version = coalesce(excluded.version, version),
  public = max(public, excluded.public), tags = coalesce(excluded.tags, tags),
  adapter = coalesce(excluded.adapter, adapter), updated = excluded.updated
"""  # noqa: S608 - the names are those above
_SESSIONS = """
INSERT INTO sessions (project, id, created, environment)
SELECT ?1, value->>0, value->>1, value->>2 FROM json_each(?2) WHERE true
ON CONFLICT (project, id) DO UPDATE SET created = min(created, excluded.created),
  environment = CASE WHEN excluded.environment = 'default' THEN environment ELSE excluded.environment END
WHERE created > excluded.created OR environment <> excluded.environment
"""


@dataclass
class Note:
    """What observations say of their trace; a later word wins over an earlier one. The order is _NOTE's."""

    id: str
    name: str | None
    started: int
    ended: int | None
    session: str | None
    user: str | None
    environment: str
    release: str | None
    version: str | None
    public: int
    tags: str | None
    adapter: str | None

    def add(self, later: Note) -> None:
        self.started = min(self.started, later.started)
        self.ended = max((end for end in (self.ended, later.ended) if end is not None), default=None)
        self.public = max(self.public, later.public)
        if later.environment != "default":
            self.environment = later.environment
        for name in ("name", "session", "user", "release", "version", "tags", "adapter"):
            if (said := getattr(later, name)) is not None:
                setattr(self, name, said)


@dataclass(frozen=True)
class Batch:
    """Observations as the statements take them: lists in JSON, and the packed bodies one after the other."""

    rows: str
    places: str
    bodies: bytes
    traces: str
    sessions: str


def prepared(observations: Iterable[Observation]) -> Batch:
    """The costly part of a write, for any thread."""
    rows, places, bodies, size = [], [], [], 1  # substr counts from 1
    notes: dict[str, Note] = {}
    for o in observations:
        tags, body = _tags(o), packed(o.body)
        rows.append(
            (
                *(o.trace, o.id, o.parent, int(o.root), o.type, o.name, o.started, o.ended, o.level),
                *(o.environment, o.version, o.release, o.session, o.user, o.trace_name, tags, o.model),
                *(o.base, o.adapter, o.prompt_hash),
            )
        )
        places.append((o.trace, o.id, size, len(body)))
        bodies.append(body)
        size += len(body)
        _add(notes, _note(o, tags))
    traces, sessions = _of_traces(notes)
    return Batch(dumped(rows), dumped(places), b"".join(bodies), traces, sessions)


def write(connection: sqlite3.Connection, project: int, batch: Batch) -> None:
    """Writes observations and what they say of their traces. One that is there already is replaced: clients
    send again what they got no answer for."""
    connection.execute(_OBSERVATIONS, (project, now(), batch.rows))
    connection.execute(_BODIES, (project, batch.places, batch.bodies))
    _write_traces(connection, project, batch.traces, batch.sessions)


def insert(connection: sqlite3.Connection, project: int, observations: Iterable[Observation]) -> None:
    """A few observations at once, by the writer itself."""
    write(connection, project, prepared(observations))


def note_trace(connection: sqlite3.Connection, project: int, o: Observation) -> None:
    """Writes what an observation says of its trace, and not the observation."""
    _write_traces(connection, project, *_of_traces({o.trace: _note(o, _tags(o))}))


def _write_traces(connection: sqlite3.Connection, project: int, traces: str, sessions: str) -> None:
    connection.execute(_TRACES, (project, now(), traces))
    connection.execute(_SESSIONS, (project, sessions))


def _note(o: Observation, tags: str | None) -> Note:
    name = o.trace_name or (o.name if o.root else None)
    return Note(
        *(o.trace, name, o.started, o.ended, o.session, o.user, o.environment, o.release, o.version),
        *(int(o.public), tags, o.adapter),
    )


def _add(notes: dict[str, Note], note: Note) -> None:
    if found := notes.get(note.id):
        found.add(note)
    else:
        notes[note.id] = note


def _of_traces(notes: dict[str, Note]) -> tuple[str, str]:
    """The rows of the traces and those of their sessions."""
    sessions = [(n.session, n.started, n.environment) for n in notes.values() if n.session is not None]
    return dumped([list(vars(note).values()) for note in notes.values()]), dumped(sessions)


def _tags(o: Observation) -> str | None:
    return dumped(sorted(set(o.tags))) if o.tags else None
