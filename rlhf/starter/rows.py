"""Real-looking rows for a schema, in SQLite, so that every statement can be run."""

import random
import re
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rlhf.starter.schemas import Column, Schema
from rlhf.starter.wording import wording
from rlhf.starter.words import Words, any_word


def value(rng: random.Random, words: Words, column: Column) -> str | int | float | None:
    """A value for one cell."""
    means = column.means
    if means in ("city", "country"):
        return words.pick(rng, means)
    if means == "first":
        return words.pick(rng, "person").split()[0]
    if means == "last":
        return words.pick(rng, "person").split()[-1]
    if means == "maker":
        return words.pick(rng, "person")
    if means == "date":
        return f"{rng.randint(2005, 2025)}-{rng.randint(1, 12):02}-{rng.randint(1, 28):02}"
    if means == "year":
        return rng.randint(1950, 2025)
    if means == "status":
        return str(rng.choice(wording("schemas")["status"]))
    if means == "kind":
        return str(rng.choice(wording("schemas")["kind"]))
    if means in ("price", "amount", "rating"):
        return round(rng.uniform(0.5, 10 if means == "rating" else 90), rng.choice((0, 1, 2, 2)))
    if means == "plain":
        return None if rng.random() < 0.3 else any_word(rng, words)
    return rng.randint(1, 90) * (1 if rng.random() < 0.6 else 1000)


def name_of(rng: random.Random, words: Words, role: str) -> str:
    roll = rng.random()
    if role == "person":
        return words.pick(rng, "person")
    if role == "category" or roll < 0.4:
        return " ".join(any_word(rng, words).capitalize() for _ in range(rng.choice((1, 1, 2))))
    if role == "place":
        return f"{words.pick(rng, 'city')} {rng.choice(('Central', 'North', 'West', 'Main', 'Old', 'City'))}"
    return words.pick(rng, rng.choice(("title", "group")))


@dataclass
class Filled:
    """A schema with its rows, as lists and as a SQLite connection."""

    schema: Schema
    rows: dict[str, list[list[str | int | float | None]]]
    connection: sqlite3.Connection


def populate(rng: random.Random, words: Words, schema: Schema) -> Filled:
    """Ten to thirty rows a table, so that every statement has a result."""
    sizes = {
        table.name: rng.randint(4, 7) if table.role == "category" else rng.randint(8, 20)
        for table in schema.tables
    }
    shared = {means: [words.pick(rng, means) for _ in range(4)] for means in ("city", "country")}
    connection = sqlite3.connect(":memory:")
    rows: dict[str, list[list[str | int | float | None]]] = {}
    for table in schema.tables:
        body = []
        for i in range(sizes[table.name]):
            row: list[str | int | float | None] = []
            for column in table.columns:
                if column.means == "id":
                    row.append(i + 1)
                elif column.target:
                    row.append(rng.randint(1, sizes[column.target[0]]))
                elif column.means == "name":
                    row.append(name_of(rng, words, table.role))
                elif column.means in shared:
                    row.append(rng.choice(shared[column.means]))
                else:
                    row.append(value(rng, words, column))
            body.append(row)
        rows[table.name] = body
        names = ", ".join(f'"{column.name}"' for column in table.columns)
        connection.execute(f'CREATE TABLE "{table.name}" ({names})')
        marks = ", ".join("?" for _ in table.columns)
        connection.executemany(f'INSERT INTO "{table.name}" VALUES ({marks})', body)  # noqa: S608 (own names)
    return Filled(schema, rows, connection)


def invented(rng: random.Random, columns: Sequence[str], sql: str) -> list[list[Any]]:
    """Rows that meet, nearly meet and do not meet the statement's conditions."""
    conditions = re.findall(r"(\w+) ([=<>]) ('(?:[^']|'')*'|-?\d+(?:\.\d+)?)", sql)
    rows: list[list[Any]] = [
        [rng.randint(1, 40) if rng.random() < 0.5 else f"v{rng.randint(1, 30)}" for _ in columns]
        for _ in range(16)
    ]
    numeric = re.findall(r"(?:SUM|AVG|MIN|MAX)\((\w+)\)", sql)
    for at, row in enumerate(rows):
        for name in numeric:
            row[columns.index(name)] = rng.randint(1, 900)
        for column, sign, literal in conditions:
            value: Any = literal[1:-1].replace("''", "'") if literal.startswith("'") else float(literal)
            if isinstance(value, float):
                value += {"=": 0, "<": -1, ">": 1}[sign]
            if at < 4 or rng.random() < 0.4:
                row[columns.index(column)] = value
    return rows


def one_result(
    name: str, columns: Sequence[str], rows: Sequence[Sequence[Any]], sql: str
) -> tuple[list[str], list[Any]]:
    """(columns, rows) of a statement on one table."""
    connection = sqlite3.connect(":memory:")
    try:
        connection.execute(f'CREATE TABLE "{name}" ({", ".join(f"[{c}]" for c in columns)})')
        marks = ", ".join("?" for _ in columns)
        connection.executemany(f'INSERT INTO "{name}" VALUES ({marks})', rows)  # noqa: S608 (own names)
        cursor = connection.execute(sql)
        return [c[0] for c in cursor.description], cursor.fetchall()
    finally:
        connection.close()
