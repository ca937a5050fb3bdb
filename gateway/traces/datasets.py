"""Datasets and their items. An item remembers the trace and the observation that it was taken from."""

from __future__ import annotations

import sqlite3
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel
from starlette.datastructures import QueryParams

from gateway.ids import new_id
from gateway.traces.conditions import in_project
from gateway.traces.errors import NoSuch
from gateway.traces.keys import KeyPair
from gateway.traces.pages import listed
from gateway.traces.values import dumped, iso, loaded, now, packed, unpacked

WIRE = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="ignore")


class NewDataset(BaseModel):
    model_config = WIRE
    name: str = Field(min_length=1)
    description: str | None = None
    metadata: Any = None
    input_schema: Any = None
    expected_output_schema: Any = None


class NewItem(BaseModel):
    model_config = WIRE
    dataset_name: str
    id: str | None = None
    input: Any = None
    expected_output: Any = None
    metadata: Any = None
    source_trace_id: str | None = None
    source_observation_id: str | None = None
    status: Literal["ACTIVE", "ARCHIVED"] | None = None


def create(connection: sqlite3.Connection, project: int, key: KeyPair, new: NewDataset) -> dict[str, Any]:
    """Makes a dataset; one of the same name is changed instead."""
    at = now()
    connection.execute(
        "INSERT INTO datasets VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (project, name) DO UPDATE SET "
        "description = excluded.description, metadata = excluded.metadata, updated = excluded.updated, "
        "input_schema = excluded.input_schema, output_schema = excluded.output_schema",
        (
            *(project, new_id(), new.name, new.description, dumped(new.metadata)),
            *(dumped(new.input_schema), dumped(new.expected_output_schema), at, at),
        ),
    )
    return get(connection, project, key, new.name)


def get(connection: sqlite3.Connection, project: int, key: KeyPair, name: str) -> dict[str, Any]:
    return _dataset(find(connection, project, name), key)


def find(connection: sqlite3.Connection, project: int, name: str) -> sqlite3.Row:
    """Raises NoSuch."""
    query = "SELECT * FROM datasets WHERE project = ? AND name = ?"
    row: sqlite3.Row | None = connection.execute(query, (project, name)).fetchone()
    if row is None:
        raise NoSuch(f"No dataset {name!r} in this project.")
    return row


def page(connection: sqlite3.Connection, project: int, key: KeyPair, params: QueryParams) -> dict[str, Any]:
    return listed(connection, "datasets", in_project(project), params, lambda row: _dataset(row, key))


def put_item(connection: sqlite3.Connection, project: int, new: NewItem) -> dict[str, Any]:
    """Makes an item; what is given for one that exists replaces what it has. Raises NoSuch."""
    dataset = find(connection, project, new.dataset_name)
    at, item_id = now(), new.id or new_id()
    old = _find_item(connection, project, item_id)
    given = new.model_dump(by_alias=True, exclude_unset=True)
    body = {"input": None, "expectedOutput": None, "metadata": None}
    body |= unpacked(old["body"]) if old else {}
    body |= {name: given[name] for name in body if given.get(name) is not None}
    connection.execute(
        "INSERT OR REPLACE INTO dataset_items VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            *(project, item_id, dataset["id"], new.status or (old["status"] if old else "ACTIVE")),
            new.source_trace_id or (old["source_trace"] if old else None),
            new.source_observation_id or (old["source_observation"] if old else None),
            *(packed(body), old["created"] if old else at, at),
        ),
    )
    return get_item(connection, project, item_id)


def get_item(connection: sqlite3.Connection, project: int, item_id: str) -> dict[str, Any]:
    row = _find_item(connection, project, item_id)
    if row is None:
        raise NoSuch(f"No dataset item {item_id!r} in this project.")
    query = "SELECT name FROM datasets WHERE project = ? AND id = ?"
    (name,) = connection.execute(query, (project, row["dataset"])).fetchone()
    return _item(row, name)


def delete_item(connection: sqlite3.Connection, project: int, item_id: str) -> None:
    done = connection.execute("DELETE FROM dataset_items WHERE project = ? AND id = ?", (project, item_id))
    if not done.rowcount:
        raise NoSuch(f"No dataset item {item_id!r} in this project.")


def page_items(connection: sqlite3.Connection, project: int, params: QueryParams) -> dict[str, Any]:
    conditions = in_project(project)
    if name := params.get("datasetName"):
        conditions.equal("dataset", find(connection, project, name)["id"])
    conditions.equal("source_trace", params.get("sourceTraceId"))
    conditions.equal("source_observation", params.get("sourceObservationId"))
    query = "SELECT id, name FROM datasets WHERE project = ?"
    names = dict(map(tuple, connection.execute(query, (project,))))
    return listed(
        connection, "dataset_items", conditions, params, lambda row: _item(row, names[row["dataset"]])
    )


def _find_item(connection: sqlite3.Connection, project: int, item_id: str) -> sqlite3.Row | None:
    query = "SELECT * FROM dataset_items WHERE project = ? AND id = ?"
    found: sqlite3.Row | None = connection.execute(query, (project, item_id)).fetchone()
    return found


def _dataset(row: sqlite3.Row, key: KeyPair) -> dict[str, Any]:
    return {
        "id": row["id"],
        "name": row["name"],
        "description": row["description"],
        "metadata": loaded(row["metadata"]),
        "inputSchema": loaded(row["input_schema"]),
        "expectedOutputSchema": loaded(row["output_schema"]),
        "projectId": key.project_id,
        "createdAt": iso(row["created"]),
        "updatedAt": iso(row["updated"]),
    }


def _item(row: sqlite3.Row, dataset_name: str) -> dict[str, Any]:
    return {
        "id": row["id"],
        "status": row["status"],
        **unpacked(row["body"]),
        "sourceTraceId": row["source_trace"],
        "sourceObservationId": row["source_observation"],
        "datasetId": row["dataset"],
        "datasetName": dataset_name,
        "createdAt": iso(row["created"]),
        "updatedAt": iso(row["updated"]),
        "mediaReferences": [],
    }
