"""What every kind of question needs: choosing from a database, wording, writing SQL."""

import random
import re
from collections.abc import Callable
from dataclasses import dataclass

from rlhf.starter.own_tools import NUMBERS
from rlhf.starter.phrases import expand
from rlhf.starter.rows import Filled
from rlhf.starter.sample import held_out
from rlhf.starter.schemas import RESERVED, Column, Table
from rlhf.starter.wording import wording
from rlhf.starter.words import Words

Asked = tuple[str, str]
"""A question and its SELECT."""
W = wording("sql")


class Skip(Exception):
    """This schema has nothing for this kind of question; draw another."""


@dataclass
class Link:
    """A foreign key: `child.column` points at `parent`."""

    child: Table
    column: Column
    parent: Table

    def on(self, new: Table) -> str:
        """`JOIN new ON new.x = known.y`."""
        child = f"{self.child.name}.{self.column.name}"
        parent = f"{self.parent.name}.{self.parent.key.name}"
        left, right = (child, parent) if new is self.child else (parent, child)
        return f"JOIN {new.name} ON {left} = {right}"


class Drawing:
    """Choosing tables, columns, cells and words of one filled database, and writing them as SQL."""

    def __init__(self, rng: random.Random, words: Words, filled: Filled, held_phrases: bool = False) -> None:
        self.rng, self.words, self.filled, self.held_phrases = rng, words, filled, held_phrases
        self.schema = filled.schema
        self.links = [
            Link(table, column, self.schema.table(column.target[0]))
            for table in self.schema.tables
            for column in table.columns
            if column.target and column.target[0] != table.name
        ]

    def table(self, fits: Callable[[Table], object]) -> Table:
        found = [t for t in self.schema.tables if fits(t)]
        if not found:
            raise Skip
        return self.rng.choice(found)

    def link(self, fits: Callable[[Link], object]) -> Link:
        found = [link for link in self.links if fits(link)]
        if not found:
            raise Skip
        return self.rng.choice(found)

    def column(self, table: Table, *means: str) -> Column:
        found = table.of(*means)
        if not found:
            raise Skip
        return self.rng.choice(found)

    def cell(self, table: Table, column: Column) -> str:
        at = table.columns.index(column)
        cells = [row[at] for row in self.filled.rows[table.name] if row[at] not in (None, "")]
        if not cells:
            raise Skip
        return str(self.rng.choice(cells))

    def word(self, cores: list[str], **slots: str) -> str:
        """A question of the wanted half of phrasings, with its slots filled."""
        for _ in range(60):
            core = expand(self.rng, self.rng.choice(cores))
            if held_out(core) == self.held_phrases:
                break
        else:
            raise Skip
        for name in ("f", "best", "money"):
            if name in slots:
                core = core.replace("{" + name + "}", expand(self.rng, slots[name]))
        for name, text in slots.items():
            core = core.replace("{" + name + "}", text)
        return core

    def nouns(self, table: Table) -> dict[str, str]:
        return {"thing": table.noun, "things": table.nouns}

    def number(self, low: int, high: int) -> tuple[str, str]:
        n = self.rng.randint(low, high)
        return str(n), NUMBERS[n - 1] if n <= 10 and self.rng.random() < 0.5 else str(n)

    def shown(self, table: Table, qualified: bool = False) -> str:
        """The select list that names a row."""
        columns = table.shown()
        if not columns:
            raise Skip
        return ", ".join(f"{table.name}.{c.name}" if qualified else c.name for c in columns)

    @staticmethod
    def quoted(text: str) -> str:
        return "'" + text.replace("'", "''") + "'"

    def alias(self, words: str) -> str:
        name = re.sub(r"\W+", "_", words.lower()).strip("_")
        return name if name.isidentifier() and name not in RESERVED else "total"

    def equals(self, table: Table, qualified: bool = False) -> tuple[str, str]:
        """(value as said, condition) that picks one row by its name."""
        prefix = table.name + "." if qualified else ""
        names = table.of("name")
        if names:
            value = self.cell(table, names[0])
            return value, f"{prefix}{names[0].name} = {self.quoted(value)}"
        first, last = self.column(table, "first"), self.column(table, "last")
        row = self.rng.choice(self.filled.rows[table.name])
        a, b = (str(row[table.columns.index(column)]) for column in (first, last))
        return (
            f"{a} {b}",
            f"{prefix}{first.name} = {self.quoted(a)} AND {prefix}{last.name} = {self.quoted(b)}",
        )
