"""The tables that a SELECT may use, and what a statement has said about them so far."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import permutations
from typing import Any

MAX_COLUMNS = 150
"""Beyond this a grammar costs more than it helps."""
MAX_VALUES, MAX_CELL = 20, 200
"""Cells of a column that may be named at once, and characters of one."""
Column = tuple[str, str]
"""(table, column)"""
Link = tuple[Column, Column]
KINDS = ("key", "number", "date", "text")
_PLAIN = re.compile(r"[A-Za-z_]\w*")
_LONE = re.compile("[\ud800-\udfff]")
_STRING = re.compile(r"'(?:[^']|'')*'")


def identifier(name: str) -> str:
    """A name as it stands in a statement inside a JSON string; quoted where SQL needs that."""
    return (
        name
        if _PLAIN.fullmatch(name)
        else json.dumps('"' + name.replace('"', '""') + '"', ensure_ascii=False)[1:-1]
    )


@dataclass(frozen=True)
class SqlSchema:
    """`tables`: columns by table. `links`: foreign keys. `kinds`: what columns hold, one of KINDS, where that
    is known. `values`: cells that the user has named, by column; None where nobody looked. `together`: tables
    that a small model's statement has, because the question names them.
    """

    tables: Mapping[str, tuple[str, ...]]
    links: tuple[Link, ...]
    kinds: Mapping[Column, str] = field(default_factory=dict)
    values: Mapping[Column, tuple[str, ...]] | None = None
    together: frozenset[str] = frozenset()

    @classmethod
    def of(cls, value: Any) -> "SqlSchema | None":
        """From the `x-sql` extension; None where it is malformed, empty or too large."""
        if not isinstance(value, Mapping) or not isinstance(value.get("tables"), Mapping):
            return None
        tables = {
            str(table): tuple(map(str, columns))
            for table, columns in value["tables"].items()
            if isinstance(columns, list) and columns
        }
        if not tables or sum(map(len, tables.values())) > MAX_COLUMNS:
            return None
        kinds = {column: kind for column, kind in _by_column(value.get("kinds"), tables) if kind in KINDS}
        named = value.get("values")
        values = {
            column: tuple(cell for cell in cells[:MAX_VALUES] if _is_cell(cell))
            for column, cells in _by_column(named, tables)
            if isinstance(cells, list)
        }
        links = tuple(_links(value.get("foreign_keys"), tables)) or tuple(_guessed(tables))
        found = cls(tables, links, kinds, None if named is None else {c: v for c, v in values.items() if v})
        wanted = value.get("together")
        together = frozenset(map(str, wanted)) & tables.keys() if isinstance(wanted, list) else frozenset()
        # What no join brings together would make every statement impossible.
        joined = together and any(together <= component for component in found.components())
        return replace(found, together=together) if joined else found

    def joins(self, known: Iterable[str]) -> dict[str, list[str]]:
        """Conditions that join a table that is not known yet, by table, in both orders."""
        scope = set(known)
        out: dict[str, list[str]] = {}
        for one, other in self.links:
            for new, old in ((one, other), (other, one)):
                if new[0] not in scope and old[0] in scope:
                    a, b = qualified(*new), qualified(*old)
                    out.setdefault(new[0], []).extend([f"{a} = {b}", f"{b} = {a}"])
        return out

    def reachable(self, start: str) -> set[str]:
        """Tables that joins lead to, the start included."""
        found = {start}
        while more := set(self.joins(found)) - found:
            found |= more
        return found

    def connects(self, tables: set[str]) -> bool:
        """Whether joins among these tables alone lead from each to every other."""
        found = {min(tables)}
        while more := (set(self.joins(found)) & tables) - found:
            found |= more
        return found == tables

    def components(self) -> list[set[str]]:
        """Tables that can be in one statement."""
        found: list[set[str]] = []
        for table in self.tables:
            if not any(table in component for component in found):
                found.append(self.reachable(table))
        return found

    @cached_property
    def _names(self) -> dict[str, str]:
        return {identifier(table): table for table in sorted(self.tables, key=len, reverse=True)}

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        """The tables of FROM up to the last complete one; something must follow it."""
        table = "(?:" + "|".join(map(re.escape, self._names)) + ")"
        columns = {qualified(*column) for link in self.links for column in link}
        column = "(?:" + "|".join(map(re.escape, sorted(columns, key=len, reverse=True))) + ")"
        pair = f"{column} = {column}"
        join = rf" (?:(?:INNER|LEFT) )?JOIN {table} ON {pair}(?=[\s)])"
        return re.compile(rf" (?P<table>{table})(?=[\s)])(?P<joins>(?:{join})*)")

    def joined(self, joins: str) -> list[str]:
        """Tables of complete joins, in order."""
        found = re.findall("JOIN (" + "|".join(map(re.escape, self._names)) + ") ON ", joins)
        return [self._names[name] for name in found]

    def table(self, name: str) -> str:
        """The table that an identifier means."""
        return self._names[name]

    def used(self, select_list: str) -> tuple[set[str], set[str]]:
        """(tables of qualified columns, plain columns) of a select list."""
        text = re.sub(r" AS \w+", "", _STRING.sub("''", select_list))
        tables = {self._names[m] for m in self._names if re.search(rf"(?<![\w.]){re.escape(m)}\.", text)}
        names = {column for columns in self.tables.values() for column in columns}
        plain = {c for c in names if re.search(rf"(?<![\w.]){re.escape(identifier(c))}(?![\w.(])", text)}
        return tables, plain

    def starts(self, tables: set[str], plain: set[str]) -> list[str]:
        """Tables that FROM may name after such a select list; all of them when nothing fits."""
        if plain:
            fit = [t for t, columns in self.tables.items() if plain <= set(columns) and tables <= {t}]
        else:
            fit = [t for t in self.tables if tables <= self.reachable(t)]
        return fit or list(self.tables)


def _links(value: Any, tables: Mapping[str, tuple[str, ...]]) -> Iterator[Link]:
    """The pairs of `Table.Column` whose tables there are."""
    for pair in value if isinstance(value, list) else ():
        ends = [str(end).rpartition(".") for end in pair] if isinstance(pair, list | tuple) else []
        if len(ends) == 2 and all(table in tables for table, _, _ in ends):
            (one, _, column), (other, _, key) = ends
            yield (one, column), (other, key)


def _is_cell(value: Any) -> bool:
    """A short text that can be written: half of a surrogate pair cannot."""
    return isinstance(value, str) and len(value) <= MAX_CELL and not _LONE.search(value)


def _by_column(value: Any, tables: Mapping[str, tuple[str, ...]]) -> Iterator[tuple[Column, Any]]:
    """The entries of `{"Table.Column": ...}` whose column there is."""
    for name, one in value.items() if isinstance(value, Mapping) else ():
        table, _, column = str(name).rpartition(".")
        if column in tables.get(table, ()):
            yield (table, column), one


def _guessed(tables: Mapping[str, tuple[str, ...]]) -> list[Link]:
    """Links of a database that declares none: equal names of keys, and `customer_id` for `id` of
    customer(s).
    """
    found: list[Link] = []
    for one, other in permutations(tables, 2):
        for column in tables[one]:
            name = column.lower()
            if (
                one < other
                and name != "id"
                and name.endswith(("id", "key", "code"))
                and column in tables[other]
            ):
                found.append(((one, column), (other, column)))
            owner = name.removesuffix("id").rstrip("_")
            target = next((c for c in tables[other] if c.lower() == "id"), None)
            if target and owner != name and owner and other.lower() in (owner, owner + "s", owner + "es"):
                found.append(((one, column), (other, target)))
    return found


def qualified(table: str, column: str) -> str:
    """`Table.Column`."""
    return f"{identifier(table)}.{identifier(column)}"


def aliases(select_list: str) -> list[str]:
    """Names that the select list gives to its columns."""
    return re.findall(r" AS (\w+)", select_list)


def select_head(text: str) -> str | None:
    """A statement up to the FROM that ends its select list; None before that."""
    for match in re.finditer(r" FROM(?= |$)", text):
        head = text[: match.end()]
        if head.startswith("SELECT ") and head.count("(") == head.count(")"):
            return head
    return None
