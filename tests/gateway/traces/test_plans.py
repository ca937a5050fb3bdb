"""How SQLite means to answer: at a million spans a scan or a sort of everything would take seconds."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.datastructures import QueryParams

from gateway.traces import datasets, export, legacy, lineage, reading, runs, scores
from gateway.traces.app import number_of
from gateway.traces.database import TraceDatabase
from gateway.traces.keys import KeyPair
from gateway.traces.observations import Observation
from gateway.traces.writing import insert

KEY = KeyPair("pk", "sk", "p", "project")
ERRORS = json.dumps([{"type": "string", "column": "level", "operator": "=", "value": "ERROR"}])
ROOTS = [{"type": "boolean", "column": "isRootObservation", "operator": "=", "value": True}]
MANY = [{"type": "stringOptions", "column": "traceId", "operator": "any of", "value": ["t", "u", "v"]}]
OBSERVATIONS: list[tuple[dict[str, str], str]] = [
    ({}, "observations_by_start"),
    ({"fromStartTime": "2026-01-01", "toStartTime": "2026-02-01"}, "observations_by_start"),
    ({"traceId": "t"}, "sqlite_autoindex_observations_1"),
    ({"traceId": "t", "type": "GENERATION"}, "sqlite_autoindex_observations_1"),
    ({"filter": json.dumps(MANY)}, "sqlite_autoindex_observations_1"),
    ({"filter": json.dumps(ROOTS)}, "observations_by_root"),
    ({"isRootObservation": "true"}, "observations_by_root"),
    ({"type": "TOOL"}, "observations_by_type"),
    ({"name": "n"}, "observations_by_name"),
    ({"name": "n", "type": "TOOL"}, "observations_by_name"),
    ({"level": "ERROR", "type": "TOOL"}, "observations_by_level"),
    ({"level": "DEFAULT"}, "observations_by_start"),
    ({"filter": ERRORS}, "observations_by_level"),
    ({"environment": "sdk-experiment"}, "observations_by_environment"),
    ({"environment": "default"}, "observations_by_start"),
    ({"userId": "u"}, "observations_by_user"),
    ({"userId": "u", "type": "GENERATION", "name": "n"}, "observations_by_user"),
    ({"sessionId": "s", "level": "ERROR"}, "observations_by_session"),
    ({"adapterVersion": "a"}, "observations_by_adapter"),
    ({"adapterVersion": "a", "type": "GENERATION", "cursor": "MSwx"}, "observations_by_adapter"),
    ({"promptHash": "h"}, "observations_by_prompt"),
]


@pytest.fixture
def file(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    database = TraceDatabase(tmp_path / "t.sqlite")
    try:
        connection = sqlite3.connect(tmp_path / "t.sqlite", isolation_level=None)
        connection.row_factory = sqlite3.Row
        assert number_of(connection, "p") == 1
        insert(connection, 1, [Observation("o", "t", 1, root=True, session="s", user="u")])
        scores.insert(connection, 1, scores.Score(name="n", value=1.0, trace_id="t"))
        datasets.create(connection, 1, KEY, datasets.NewDataset(name="d"))
        item = datasets.put_item(connection, 1, datasets.NewItem(dataset_name="d", source_trace_id="t"))
        new = runs.NewRunItem(run_name="r", dataset_item_id=item["id"], trace_id="t")
        runs.put_item(connection, 1, new)
        yield connection
        connection.close()
    finally:
        database.close()


def plans(file: sqlite3.Connection, ask: Callable[[], Any]) -> list[str]:
    """The plan of every statement that a question runs."""
    seen: list[str] = []
    file.set_trace_callback(seen.append)
    ask()
    file.set_trace_callback(None)
    found = []
    for statement in seen:
        if "json_each" not in statement:  # tables of a statement's own
            rows = file.execute(f"EXPLAIN QUERY PLAN {statement}").fetchall()
            found.append(f"{statement}: {' | '.join(row[3] for row in rows)}")
    assert found
    return found


@pytest.mark.parametrize(("params", "index"), OBSERVATIONS, ids=lambda value: str(value)[:60])
def test_observations_come_by_the_index_that_is_meant(
    file: sqlite3.Connection, params: dict[str, str], index: str
) -> None:
    sorts = "any of" in params.get("filter", "")  # the rows of a few traces
    for plan in plans(file, lambda: reading.page(file, 1, KEY, QueryParams(params))):
        assert "SCAN" not in plan
        if "FROM observations" in plan:
            assert f"USING INDEX {index}" in plan
            assert sorts or "traceId" in params or "TEMP B-TREE" not in plan, plan


TRACE_LISTS = [{}, {"userId": "u"}, {"sessionId": "s"}, {"name": "n"}, {"adapterVersion": "a"}]
TRACE_LISTS += [
    {"filter": json.dumps([{"type": "string", "column": "userId", "operator": "=", "value": "u"}])}
]
TRACE_LISTS += [{"fromTimestamp": "2026-01-01", "environment": "default"}]
SCORE_LISTS = [{}, {"name": "n"}, {"traceId": "t"}, {"sessionId": "s"}, {"experimentId": "r"}]


def test_every_list_has_its_index(file: sqlite3.Connection) -> None:
    asked: list[Callable[[], Any]] = []
    asked += [lambda p=p: legacy.page(file, 1, KEY, QueryParams(p)) for p in TRACE_LISTS]  # type: ignore[misc]
    asked += [lambda p=p: scores.page(file, 1, KEY, QueryParams(p)) for p in SCORE_LISTS]  # type: ignore[misc]
    asked += [lambda p=p: scores.page_v2(file, 1, QueryParams(p)) for p in SCORE_LISTS]  # type: ignore[misc]
    asked += [
        lambda: legacy.page_observations(file, 1, KEY, QueryParams({})),
        lambda: legacy.page_observations(file, 1, KEY, QueryParams({"userId": "u", "type": "TOOL"})),
        lambda: legacy.page_sessions(file, 1, KEY, QueryParams({})),
        lambda: datasets.page(file, 1, KEY, QueryParams({})),
        lambda: datasets.page_items(file, 1, QueryParams({})),
        lambda: datasets.page_items(file, 1, QueryParams({"datasetName": "d"})),
        lambda: datasets.page_items(file, 1, QueryParams({"sourceTraceId": "t"})),
        lambda: runs.page(file, 1, "d", QueryParams({})),
        lambda: export.page(file, 1, KEY, "2000-01-01", None, (-1, -1)),
        lambda: lineage.asked(file, 1, QueryParams({"userId": "u"})),
        lambda: lineage.asked(file, 1, QueryParams({"adapterVersion": "a"})),
    ]
    for ask in asked:
        for plan in plans(file, ask):
            if "SELECT id, name FROM datasets" in plan:
                continue  # a project's own handful
            assert "TEMP B-TREE" not in plan or "trace = 't'" in plan, plan
            assert "SCAN" not in plan.replace("SCAN (subquery", ""), plan


def test_a_trace_opens_by_its_id(file: sqlite3.Connection) -> None:
    for plan in plans(file, lambda: legacy.get(file, 1, KEY, "t")):
        assert "SCAN" not in plan
        assert "trace=?" in plan or "id=?" in plan or "rowid=?" in plan


def test_a_session_opens_by_its_id(file: sqlite3.Connection) -> None:
    for plan in plans(file, lambda: legacy.get_session(file, 1, KEY, "s")):
        assert "SCAN" not in plan
