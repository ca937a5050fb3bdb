"""Runs of a dataset, as SDK 3 and 4 write them: each item of a run points to the trace that it made."""

from __future__ import annotations

import sqlite3
from typing import Any

from pydantic import BaseModel, Field
from starlette.datastructures import QueryParams

from gateway.ids import new_id
from gateway.traces.conditions import in_project
from gateway.traces.datasets import WIRE, find
from gateway.traces.errors import BadTrace, NoSuch
from gateway.traces.pages import listed
from gateway.traces.values import dumped, iso, loaded, now


class NewRunItem(BaseModel):
    model_config = WIRE

    run_name: str = Field(min_length=1)
    dataset_item_id: str
    run_description: str | None = None
    metadata: Any = None
    trace_id: str | None = None
    observation_id: str | None = None


def put_item(connection: sqlite3.Connection, project: int, new: NewRunItem) -> dict[str, Any]:
    """Adds an item to a run, which is made with its first item. Raises BadTrace, NoSuch."""
    if new.trace_id is None:
        raise BadTrace("traceId is missing.")
    query = "SELECT dataset FROM dataset_items WHERE project = ? AND id = ?"
    item = connection.execute(query, (project, new.dataset_item_id)).fetchone()
    if item is None:
        raise NoSuch(f"No dataset item {new.dataset_item_id!r} in this project.")
    at = now()
    connection.execute(
        "INSERT INTO dataset_runs VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (project, dataset, name) "
        "DO UPDATE SET description = coalesce(excluded.description, description), updated = excluded.updated",
        (
            *(project, new_id(), item["dataset"], new.run_name, new.run_description),
            *(dumped(new.metadata), at, at),
        ),
    )
    run = _run(connection, project, item["dataset"], new.run_name)
    connection.execute(
        "INSERT OR REPLACE INTO dataset_run_items VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (project, new_id(), run["id"], new.dataset_item_id, new.trace_id, new.observation_id, at, at),
    )
    query = "SELECT * FROM dataset_run_items WHERE project = ? AND run = ? AND item = ?"
    row = connection.execute(query, (project, run["id"], new.dataset_item_id)).fetchone()
    return _item(row, new.run_name)


def page(connection: sqlite3.Connection, project: int, dataset: str, params: QueryParams) -> dict[str, Any]:
    """Raises NoSuch."""
    conditions = in_project(project)
    conditions.equal("dataset", find(connection, project, dataset)["id"])
    return listed(connection, "dataset_runs", conditions, params, lambda row: _shown(row, dataset))


def page_items(connection: sqlite3.Connection, project: int, params: QueryParams) -> dict[str, Any]:
    """The items of the run `runName` of the dataset `datasetId`. Raises NoSuch."""
    name = params.get("runName", "")
    run = _run(connection, project, params.get("datasetId", ""), name)
    conditions = in_project(project)
    conditions.equal("run", run["id"])
    return listed(connection, "dataset_run_items", conditions, params, lambda row: _item(row, name))


def get(connection: sqlite3.Connection, project: int, dataset: str, name: str) -> dict[str, Any]:
    """A run with its items. Raises NoSuch."""
    row = _run(connection, project, find(connection, project, dataset)["id"], name)
    query = "SELECT * FROM dataset_run_items WHERE project = ? AND run = ? ORDER BY created"
    items = connection.execute(query, (project, row["id"])).fetchall()
    return _shown(row, dataset) | {"datasetRunItems": [_item(item, name) for item in items]}


def delete(connection: sqlite3.Connection, project: int, dataset: str, name: str) -> None:
    """Raises NoSuch."""
    row = _run(connection, project, find(connection, project, dataset)["id"], name)
    connection.execute("DELETE FROM dataset_run_items WHERE project = ? AND run = ?", (project, row["id"]))
    connection.execute("DELETE FROM dataset_runs WHERE project = ? AND id = ?", (project, row["id"]))


def _run(connection: sqlite3.Connection, project: int, dataset_id: str, name: str) -> sqlite3.Row:
    query = "SELECT * FROM dataset_runs WHERE project = ? AND dataset = ? AND name = ?"
    row: sqlite3.Row | None = connection.execute(query, (project, dataset_id, name)).fetchone()
    if row is None:
        raise NoSuch(f"No run {name!r} of this dataset.")
    return row


def _shown(row: sqlite3.Row, dataset: str) -> dict[str, Any]:
    return {
        "id": row["id"],
        "name": row["name"],
        "description": row["description"],
        "metadata": loaded(row["metadata"]),
        "datasetId": row["dataset"],
        "datasetName": dataset,
        "createdAt": iso(row["created"]),
        "updatedAt": iso(row["updated"]),
    }


def _item(row: sqlite3.Row, run_name: str) -> dict[str, Any]:
    return {
        "id": row["id"],
        "datasetRunId": row["run"],
        "datasetRunName": run_name,
        "datasetItemId": row["item"],
        "traceId": row["trace"],
        "observationId": row["observation"],
        "createdAt": iso(row["created"]),
        "updatedAt": iso(row["updated"]),
    }
