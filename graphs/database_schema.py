"""The project's databases as the model reads them: one line a table."""

from __future__ import annotations

import re
import time
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

PROMPTS = Path(__file__).parent / "prompts"
CACHE_SECONDS = 300.0
_TEXTS = re.compile(r"CHAR|TEXT|CLOB|STRING|ENUM")
_NUMBERS = re.compile(r"\b\w*INT(EGER|\d)?\b(?<!POINT)|REAL|NUM|DEC|FLOA|DOUB|MONEY|SERIAL")
_DATED = re.compile(r"^date_|(^|_)(date|time|day|at|on|birthday|datetime|timestamp)$")


@dataclass(frozen=True, slots=True)
class Table:
    """`references` maps a column to the `Table.Column` that it points at, `kinds` to what it holds: `key`,
    `number`, `date` or `text`.
    """

    name: str
    columns: tuple[str, ...]
    references: dict[str, str]
    kinds: dict[str, str] = field(default_factory=dict)

    @property
    def line(self) -> str:
        """`Album(AlbumId, Title, ArtistId > Artist.ArtistId)`"""
        return f"{self.name}({', '.join(map(self._column, self.columns))})"

    def _column(self, column: str) -> str:
        return f"{column} > {self.references[column]}" if column in self.references else column

    @property
    def words(self) -> set[str]:
        return set().union(*map(words, (self.name, *self.columns)))


@dataclass(frozen=True, slots=True)
class Database:
    name: str
    dialect: str
    tables: tuple[Table, ...]
    left_out: int = 0
    """Tables that a token budget cut."""

    @property
    def block(self) -> str:
        lines = [table.line for table in self.tables]
        if self.left_out:
            lines.append(_prompt("cut").format(count=self.left_out))
        return _prompt("database").format(name=self.name, dialect=self.dialect, tables="\n".join(lines))


@dataclass(frozen=True, slots=True)
class Schema:
    """`cells`: by `Table.Column`, the cells that the question names; None where nobody looked."""

    databases: tuple[Database, ...] = ()
    cells: dict[str, list[str]] | None = None

    @property
    def text(self) -> str:
        """The blocks that follow the persona in the system prompt; empty without a database."""
        return "\n\n".join(database.block for database in self.databases)

    @property
    def tables(self) -> list[Table]:
        return [table for database in self.databases for table in database.tables]

    @property
    def left_out(self) -> int:
        return sum(database.left_out for database in self.databases)

    def x_sql(self) -> dict[str, Any]:
        """The value of the extension `x-sql`: the identifiers that a SELECT may use, what the columns hold
        and which cells are named.

        Tables of the same name in two databases are one entry with the columns of both.
        """
        tables: dict[str, list[str]] = {}
        for table in self.tables:
            known = tables.setdefault(table.name, [])
            known.extend(column for column in table.columns if column not in known)
        keys = [[f"{t.name}.{column}", to] for t in self.tables for column, to in t.references.items()]
        value: dict[str, Any] = {"tables": tables, "foreign_keys": keys}
        if kinds := {f"{t.name}.{column}": kind for t in self.tables for column, kind in t.kinds.items()}:
            value["kinds"] = kinds
        return value if self.cells is None else {**value, "values": self.cells}

    def naming(self, structured: dict[str, Any] | None) -> Schema:
        """The schema with the cells of a structured result of sql_values; as it is where the tool failed."""
        if structured is None:
            return self
        found: dict[str, list[str]] = {}
        for one in structured["named"]:
            found.setdefault(f"{one['table']}.{one['column']}", []).extend(one["cells"])
        return replace(self, cells=found)

    def fitted(self, fits: Callable[[str], bool], question: str) -> Schema:
        """The schema with as many tables as fit, those first that share words with the question."""
        wanted = words(question)
        ranked = sorted(self.tables, key=lambda table: -len(table.words & wanted))
        kept = len(ranked)
        while kept and not fits(self._only(ranked[:kept]).text):
            kept -= max(1, kept // 10)
        return self._only(ranked[: max(kept, 0)])

    def _only(self, tables: list[Table]) -> Schema:
        keep = set(map(id, tables))
        return replace(self, databases=tuple(_without(database, keep) for database in self.databases))


def _without(database: Database, keep: set[int]) -> Database:
    tables = tuple(table for table in database.tables if id(table) in keep)
    return Database(database.name, database.dialect, tables, len(database.tables) - len(tables))


def parse(structured: dict[str, Any] | None) -> Schema:
    """From the structured result of sql_describe."""
    return Schema(tuple(map(_database, (structured or {}).get("databases", ()))))


def _database(entry: dict[str, Any]) -> Database:
    return Database(entry["name"], entry["dialect"], tuple(map(_table, entry["tables"])))


def _table(entry: dict[str, Any]) -> Table:
    references = {key["column"]: key["references"] for key in entry.get("foreign_keys", ())}
    columns = entry["columns"]
    # Of a key of several columns each may be a date or a number of its own.
    keys = [column["name"] for column in columns if column.get("primary_key")]
    known = set(references) | (set(keys) if len(keys) == 1 else set())
    held = {c["name"]: "key" if c["name"] in known else _kind(c) for c in columns}
    return Table(entry["name"], tuple(held), references, {name: kind for name, kind in held.items() if kind})


def _kind(column: dict[str, Any]) -> str:
    """What a column holds, by its type; dates of SQLite are texts, told by their name. Empty: not known."""
    declared, name = str(column.get("type", "")).upper(), "_".join(_parts(column["name"]))
    if re.search(r"DATE|TIME", declared) or (_TEXTS.search(declared) and _DATED.search(name)):
        return "date"
    if _NUMBERS.search(declared):
        return "number"
    return "text" if _TEXTS.search(declared) else ""


def words(text: str) -> set[str]:
    """Lower-case words without a plural s; `CustomerId` and `first_name` are two words each."""
    return {word.removesuffix("s") for word in _parts(text) if len(word) > 2}


def _parts(text: str) -> list[str]:
    return re.findall(r"[^\W_]+", re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", text).lower())


def _prompt(name: str) -> str:
    return (PROMPTS / f"{name}.md").read_text(encoding="utf-8").strip()


@dataclass
class SchemaCache:
    """Schemas by key, read again after CACHE_SECONDS. The key must change with the list of databases."""

    _kept: dict[Hashable, tuple[float, Schema]] = field(default_factory=dict)

    async def get(self, key: Hashable, read: Callable[[], Awaitable[Schema]]) -> Schema:
        now = time.monotonic()
        self._kept = {k: kept for k, kept in self._kept.items() if now - kept[0] < CACHE_SECONDS}
        if key not in self._kept:
            self._kept[key] = (now, await read())
        return self._kept[key][1]

    def forget(self) -> None:
        self._kept.clear()
