"""Scores: what people, rules and judges think of a trace, an observation, a session or an experiment."""

from __future__ import annotations

import sqlite3
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel
from starlette.datastructures import QueryParams

from gateway.ids import new_id
from gateway.traces import pages
from gateway.traces.conditions import Conditions, in_project, listed, number
from gateway.traces.errors import BadTrace, NoSuch
from gateway.traces.keys import KeyPair
from gateway.traces.values import cursor_of, dumped, iso, loaded, micros, now

DataType = Literal["NUMERIC", "BOOLEAN", "CATEGORICAL", "TEXT", "CORRECTION"]
GROUPS = {"details", "subject", "annotation"}
_NAMES = (
    "project id name type number text trace session observation run source environment comment metadata "
    "config queue author timestamp created updated"
)
COLUMNS = _NAMES.split()
_MARKS = ", ".join("?" * len(COLUMNS))
_CHANGES = ", ".join(f"{n} = excluded.{n}" for n in COLUMNS if n not in ("project", "id", "created"))
_UPSERT = f"""
INSERT INTO scores ({", ".join(COLUMNS)}) VALUES ({_MARKS})
ON CONFLICT (project, id) DO UPDATE SET {_CHANGES}
"""  # noqa: S608 - the names are those above


class Score(BaseModel):
    """A score as a client sends it."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="ignore")

    id: str = Field(default_factory=new_id)
    name: str = Field(min_length=1)
    value: float | str
    trace_id: str | None = None
    session_id: str | None = None
    observation_id: str | None = None
    dataset_run_id: str | None = None
    comment: str | None = None
    environment: str | None = None
    data_type: DataType | None = None
    config_id: str | None = None
    queue_id: str | None = None
    author_user_id: str | None = None
    source: str | None = None
    timestamp: str | None = None
    metadata: Any = None


def insert(connection: sqlite3.Connection, project: int, score: Score) -> str:
    """Writes a score, over the one that has its id. Raises BadTrace for a value that is not of its type."""
    kind, number_, text = _typed(score)
    if not (score.trace_id or score.session_id or score.dataset_run_id):
        raise BadTrace(f"The score {score.name!r} needs a traceId, a sessionId or a datasetRunId.")
    at = now()
    values = (
        *(project, score.id or new_id(), score.name, kind, number_, text),
        *(score.trace_id, score.session_id, score.observation_id, score.dataset_run_id),
        *((score.source or "API").upper(), score.environment or "default", score.comment),
        None if score.metadata is None else dumped(score.metadata),
        *(score.config_id, score.queue_id, score.author_user_id),
        *(micros(score.timestamp) if score.timestamp else at, at, at),
    )
    connection.execute(_UPSERT, values)
    return score.id


def insert_all(connection: sqlite3.Connection, project: int, entries: list[Any]) -> list[str]:
    """Writes the good ones; says what is wrong with the others."""
    errors = []
    for entry in entries:
        try:
            insert(connection, project, Score.model_validate(entry))
        except (ValidationError, BadTrace, UnicodeEncodeError) as error:
            errors.append(str(error))
    return errors


def _typed(score: Score) -> tuple[str, float | None, str | None]:
    """Type, number and text. A boolean arrives as 1.0 or 0.0."""
    value, kind = score.value, score.data_type
    kind = kind or ("CATEGORICAL" if isinstance(value, str) else "NUMERIC")
    if kind in ("NUMERIC", "BOOLEAN"):
        if isinstance(value, str) or (kind == "BOOLEAN" and value not in (0, 1)) or value != value:
            raise BadTrace(f"The score {score.name!r} is {kind}, its value {value!r} is not.")
        return kind, float(value), None
    if not isinstance(value, str):
        raise BadTrace(f"The score {score.name!r} is {kind}, its value {value!r} is no text.")
    return kind, None, value


def delete(connection: sqlite3.Connection, project: int, score_id: str) -> None:
    done = connection.execute("DELETE FROM scores WHERE project = ? AND id = ?", (project, score_id))
    if not done.rowcount:
        raise NoSuch(f"No score {score_id!r} in this project.")


def page(connection: sqlite3.Connection, project: int, key: KeyPair, params: QueryParams) -> dict[str, Any]:
    """GET /api/public/v3/scores: pages by cursor, the newest first, `value` of its own type."""
    groups = set(listed(params, "fields"))
    if unknown := groups - GROUPS:
        raise BadTrace(f"No fields {', '.join(sorted(unknown))}. Fields: {', '.join(sorted(GROUPS))}.")
    limit = number(params, "limit", 50, 100)
    conditions = _asked(project, params)
    conditions.after("timestamp", params.get("cursor"))
    order = f"ORDER BY {conditions.newest('timestamp')} LIMIT ?"
    query = f"SELECT * FROM scores WHERE {conditions.sql} {order}"  # noqa: S608 - values are bound
    rows = connection.execute(query, (*conditions.values, limit + 1)).fetchall()
    more, rows = len(rows) > limit, rows[:limit]
    meta: dict[str, Any] = {"limit": limit}
    if more:
        meta["cursor"] = cursor_of(rows[-1]["timestamp"], rows[-1]["row"])
    return {"data": [_shown(row, key, groups) for row in rows], "meta": meta}


_LISTS = {"id": "id", "name": "name", "environment": "environment", "configId": "config", "queueId": "queue"}
_LISTS |= {"authorUserId": "author", "traceId": "trace", "sessionId": "session"}
_LISTS |= {"observationId": "observation", "experimentId": "run"}


def _asked(project: int, params: QueryParams) -> Conditions:
    conditions = in_project(project)
    for name, column in _LISTS.items():
        if values := listed(params, name):
            conditions.any_of(column, values)
    for name, column in (("source", "source"), ("dataType", "type")):
        if values := [value.upper() for value in listed(params, name)]:
            conditions.any_of(column, values)
    if params.get("observationId") and not params.get("traceId"):
        raise BadTrace("observationId needs traceId: observation ids are unique within a trace only.")
    _add_value(conditions, params)
    conditions.between("timestamp", params.get("fromTimestamp"), params.get("toTimestamp"))
    return conditions


def _add_value(conditions: Conditions, params: QueryParams) -> None:
    kinds = [kind.upper() for kind in listed(params, "dataType")]
    try:
        for name, operator in (("valueMin", ">="), ("valueMax", "<=")):
            if params.get(name):
                if kinds != ["NUMERIC"]:
                    raise BadTrace(f"{name} needs dataType=NUMERIC.")
                conditions.add(f"number {operator} ?", float(params[name]))
        if values := listed(params, "value"):
            if kinds not in (["NUMERIC"], ["BOOLEAN"], ["CATEGORICAL"]):
                raise BadTrace("value needs a dataType: NUMERIC, BOOLEAN or CATEGORICAL.")
            if kinds == ["CATEGORICAL"]:
                conditions.any_of("text", values)
            else:
                words = {"true": 1.0, "false": 0.0} if kinds == ["BOOLEAN"] else None
                conditions.any_of("number", [words[v] if words else float(v) for v in values])
    except (ValueError, KeyError) as error:
        raise BadTrace(f"A value of the filter is not of the type {kinds[0]}.") from error


def _shown(row: sqlite3.Row, key: KeyPair, groups: set[str]) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "id": row["id"],
        "projectId": key.project_id,
        "name": row["name"],
        "dataType": row["type"],
        "value": value_of(row),
        "source": row["source"],
        "timestamp": iso(row["timestamp"]),
        "environment": row["environment"],
        "createdAt": iso(row["created"]),
        "updatedAt": iso(row["updated"]),
    }
    if "details" in groups:
        metadata = loaded(row["metadata"])
        whole = metadata if isinstance(metadata, dict | None) else {"metadata": metadata}
        shown |= {"comment": row["comment"], "configId": row["config"], "metadata": whole or {}}
    if "annotation" in groups:
        shown |= {"authorUserId": row["author"], "queueId": row["queue"]}
    if "subject" in groups:
        shown["subject"] = _subject(row)
    return shown


def value_of(row: sqlite3.Row) -> bool | float | str:
    if row["type"] == "BOOLEAN":
        return bool(row["number"])
    found: float | str = row["number"] if row["type"] == "NUMERIC" else row["text"]
    return found


def _subject(row: sqlite3.Row) -> dict[str, Any]:
    if row["observation"]:
        return {"kind": "observation", "id": row["observation"], "traceId": row["trace"]}
    for kind, column in (("trace", "trace"), ("session", "session"), ("experiment", "run")):
        if row[column]:
            return {"kind": kind, "id": row[column]}
    raise AssertionError("a score is about something")


def page_v2(connection: sqlite3.Connection, project: int, params: QueryParams) -> dict[str, Any]:
    """GET /api/public/v2/scores: pages by number, in the older shape."""
    conditions = _asked(project, params)
    order = conditions.newest("timestamp")
    return pages.listed(connection, "scores", conditions, params, shown_v1, order)


def get_v2(connection: sqlite3.Connection, project: int, score_id: str) -> dict[str, Any]:
    """Raises NoSuch."""
    query = "SELECT * FROM scores WHERE project = ? AND id = ?"
    row = connection.execute(query, (project, score_id)).fetchone()
    if row is None:
        raise NoSuch(f"No score {score_id!r} in this project.")
    return shown_v1(row)


def shown_v1(row: sqlite3.Row) -> dict[str, Any]:
    """The older shape: `value` is a number; what is a word or a text stands in `stringValue`."""
    shown = {
        "id": row["id"],
        "traceId": row["trace"],
        "sessionId": row["session"],
        "observationId": row["observation"],
        "datasetRunId": row["run"],
        "name": row["name"],
        "dataType": row["type"],
        "value": row["number"] or 0,
        "source": row["source"],
        "timestamp": iso(row["timestamp"]),
        "environment": row["environment"],
        "comment": row["comment"],
        "metadata": loaded(row["metadata"]),
        "configId": row["config"],
        "queueId": row["queue"],
        "authorUserId": row["author"],
        "createdAt": iso(row["created"]),
        "updatedAt": iso(row["updated"]),
    }
    if row["type"] == "BOOLEAN":
        shown["stringValue"] = str(bool(row["number"]))
    elif row["type"] != "NUMERIC":
        shown["stringValue"] = row["text"]
    return shown
