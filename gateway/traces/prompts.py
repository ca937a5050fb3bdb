"""Prompts in versions. A label points to one version of a prompt; `latest` always points to the newest."""

from __future__ import annotations

import sqlite3
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic.alias_generators import to_camel
from starlette.datastructures import QueryParams

from gateway.ids import new_id
from gateway.traces.conditions import number
from gateway.traces.errors import NoSuch
from gateway.traces.values import dumped, iso, loaded, now

LATEST, DEFAULT = "latest", "production"


class NewPrompt(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="ignore")

    name: str = Field(min_length=1)
    type: Literal["text", "chat"] = "text"
    prompt: str | list[dict[str, Any]]
    config: Any = None
    labels: list[str] = []
    tags: list[str] | None = None
    commit_message: str | None = None

    @model_validator(mode="after")
    def _fits(self) -> NewPrompt:
        if isinstance(self.prompt, str) != (self.type == "text"):
            raise ValueError("a text prompt is a text, a chat prompt a list of messages")
        return self


class NewLabels(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True)

    new_labels: list[str]


def create(connection: sqlite3.Connection, project: int, new: NewPrompt) -> dict[str, Any]:
    """The next version; labels move to it from the version that had them. Tags are the prompt's, not the
    version's: they stay what they were where none are given."""
    old = _versions(connection, project, new.name)
    tags = dumped(new.tags) if new.tags is not None else (old[0]["tags"] if old else "[]")
    version, at = (old[0]["version"] + 1 if old else 1), now()
    connection.execute(
        "INSERT INTO prompts VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            *(project, new.name, version, new_id(), new.type, dumped(new.prompt), dumped(new.config or {})),
            *("[]", tags, new.commit_message, at, at),
        ),
    )
    connection.execute(
        "UPDATE prompts SET tags = ? WHERE project = ? AND name = ?", (tags, project, new.name)
    )
    _give(connection, project, new.name, version, [*new.labels, LATEST])
    return _found(connection, project, new.name, version=version)


def relabel(
    connection: sqlite3.Connection, project: int, name: str, version: int, labels: list[str]
) -> dict[str, Any]:
    """Gives labels to a version, taking them from the others. Raises NoSuch."""
    _found(connection, project, name, version=version)
    _give(connection, project, name, version, labels)
    return _found(connection, project, name, version=version)


def get(connection: sqlite3.Connection, project: int, name: str, params: QueryParams) -> dict[str, Any]:
    """The version asked for, else the one with the label, `production` where nothing is said."""
    if params.get("version"):
        return _found(connection, project, name, version=number(params, "version", 0, 10**8, 0))
    return _found(connection, project, name, label=params.get("label") or DEFAULT)


def delete(connection: sqlite3.Connection, project: int, name: str, params: QueryParams) -> None:
    """The versions that are asked for, all of them where nothing is said. Raises NoSuch."""
    version, label = number(params, "version", 0, 10**8, 0), params.get("label")
    doomed = [
        row["version"]
        for row in _versions(connection, project, name)
        if (not version or row["version"] == version) and (not label or label in loaded(row["labels"]))
    ]
    if not doomed:
        raise NoSuch(f"No such version of the prompt {name!r}.")
    query = "DELETE FROM prompts WHERE project = ? AND name = ? AND version = ?"
    connection.executemany(query, [(project, name, v) for v in doomed])
    if left := _versions(connection, project, name):
        _give(connection, project, name, left[0]["version"], [LATEST])


def page(connection: sqlite3.Connection, project: int, params: QueryParams) -> dict[str, Any]:
    """A line a prompt, the last changed first."""
    limit, at = number(params, "limit", 50, 1000), number(params, "page", 1, 1_000_000)
    query = "SELECT * FROM prompts WHERE project = ? ORDER BY version DESC"
    by_name: dict[str, list[sqlite3.Row]] = {}
    for row in connection.execute(query, (project,)):
        by_name.setdefault(row["name"], []).append(row)
    kept = [rows for name, rows in by_name.items() if _is_asked_for(name, rows, params)]
    kept.sort(key=lambda rows: -max(row["updated"] for row in rows))
    total = len(kept)
    meta = {"page": at, "limit": limit, "totalItems": total, "totalPages": -(-total // limit)}
    return {"data": [_line(rows) for rows in kept[(at - 1) * limit : at * limit]], "meta": meta}


def _is_asked_for(name: str, rows: list[sqlite3.Row], params: QueryParams) -> bool:
    label, tag = params.get("label"), params.get("tag")
    return (
        params.get("name") in (None, "", name)
        and (not label or any(label in loaded(row["labels"]) for row in rows))
        and (not tag or tag in loaded(rows[0]["tags"]))
    )


def _versions(connection: sqlite3.Connection, project: int, name: str) -> list[sqlite3.Row]:
    query = "SELECT * FROM prompts WHERE project = ? AND name = ? ORDER BY version DESC"
    return connection.execute(query, (project, name)).fetchall()


def _give(connection: sqlite3.Connection, project: int, name: str, version: int, labels: list[str]) -> None:
    for row in _versions(connection, project, name):
        had = loaded(row["labels"])
        if row["version"] == version:
            has = [*had, *(label for label in dict.fromkeys(labels) if label not in had)]
        else:
            has = [label for label in had if label not in labels]
        if has != had:
            connection.execute(
                "UPDATE prompts SET labels = ?, updated = ? WHERE project = ? AND name = ? AND version = ?",
                (dumped(has), now(), project, name, row["version"]),
            )


def _found(
    connection: sqlite3.Connection, project: int, name: str, *, version: int = 0, label: str = ""
) -> dict[str, Any]:
    for row in _versions(connection, project, name):
        if row["version"] == version or (label and label in loaded(row["labels"])):
            return _shown(row)
    wanted = f"version {version}" if version else f"label {label!r}"
    raise NoSuch(f"No prompt {name!r} with {wanted} in this project.")


def _shown(row: sqlite3.Row) -> dict[str, Any]:
    return {
        "id": row["id"],
        "name": row["name"],
        "version": row["version"],
        "type": row["type"],
        "prompt": loaded(row["prompt"]),
        "config": loaded(row["config"]),
        "labels": loaded(row["labels"]),
        "tags": loaded(row["tags"]),
        "commitMessage": row["message"],
        "createdAt": iso(row["created"]),
        "updatedAt": iso(row["updated"]),
    }


def _line(rows: list[sqlite3.Row]) -> dict[str, Any]:
    return {
        "name": rows[0]["name"],
        "type": rows[0]["type"],
        "versions": sorted(row["version"] for row in rows),
        "labels": sorted({label for row in rows for label in loaded(row["labels"])}),
        "tags": loaded(rows[0]["tags"]),
        "lastUpdatedAt": iso(max(row["updated"] for row in rows)),
        "lastConfig": loaded(rows[0]["config"]),
    }
