"""What a database holds, as far as a query may touch it: tables, columns, foreign keys."""

import difflib
from collections.abc import Iterable

from pydantic import BaseModel, Field


class Column(BaseModel, frozen=True):
    """One column of a table or view."""

    name: str
    type: str = Field(description="The type as the database names it.")
    nullable: bool
    primary_key: bool


class ForeignKey(BaseModel, frozen=True):
    """One column that points at another table."""

    column: str
    references: str = Field(description="`Table.Column` that it points at.")


class Table(BaseModel, frozen=True):
    """One table or view. Outside the default schema the name is `schema.table`."""

    name: str
    columns: tuple[Column, ...]
    foreign_keys: tuple[ForeignKey, ...] = ()
    rows: int | None = Field(
        default=None, description="Number of rows, an estimate on PostgreSQL; null: unknown, or a view."
    )

    def line(self) -> str:
        """`Album(AlbumId, Title, ArtistId > Artist.ArtistId)`: what a model reads."""
        targets = {key.column: key.references for key in self.foreign_keys}
        parts = (f"{c.name} > {targets[c.name]}" if c.name in targets else c.name for c in self.columns)
        return f"{self.name}({', '.join(parts)})"

    def column_names(self) -> list[str]:
        """The names of the columns, in the table's order."""
        return [column.name for column in self.columns]


class Catalog(BaseModel, frozen=True):
    """All tables of one database, in the order of their names."""

    name: str
    dialect: str
    default_schema: str = Field(exclude=True)
    tables: tuple[Table, ...]

    def find(self, name: str) -> Table | None:
        """The table of that name; where no case matches exactly, one that differs in case only."""
        exact = [table for table in self.tables if table.name == name]
        loose = [table for table in self.tables if table.name.lower() == name.lower()]
        found = exact or loose
        return found[0] if found else None

    def table_names(self) -> list[str]:
        """The names of all tables."""
        return [table.name for table in self.tables]

    def text(self) -> str:
        """One line a table, under a line that names the database."""
        lines = [f"Database {self.name} ({self.dialect}):", *(table.line() for table in self.tables)]
        return "\n".join(lines) if self.tables else f"{lines[0]} no tables"


def nearest(name: str, names: Iterable[str], count: int = 3) -> list[str]:
    """Up to `count` of the names that look most like `name`, ignoring case."""
    by_lower = {candidate.lower(): candidate for candidate in names}
    found = difflib.get_close_matches(name.lower(), by_lower, n=count, cutoff=0.5)
    return [by_lower[match] for match in found]
