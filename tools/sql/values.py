"""Which cells of a database a text names: `customers in brazil` names `Brazil` in `Customer.Country`.

A model that writes SQL has seen columns, not cells; this is what it needs to put a name into the right
column. Cells are compared whole and without case, by statements of this file, run as every query is.
"""

import logging
import re
import time
from collections.abc import Iterator

from pydantic import BaseModel, Field

from tools.errors import ToolsError
from tools.sql.catalog import Catalog, Column, Table
from tools.sql.limits import Engine, Limits, Stop

logger = logging.getLogger(__name__)
WORDS = 80
"""Words of the text that are read, the last ones."""
LONGEST = 6
"""Words of a cell."""
COLUMNS = 80
CELLS = 5
"""Of one column."""
COLUMN_SECONDS, ALL_SECONDS = 0.3, 2.0
"""What takes longer is left out: it is a help, and the question waits."""
_WORD = re.compile(r"\w+(?:[^\w\s]+\w+)*")
_TEXT = re.compile(r"CHAR|TEXT|CLOB|STRING|ENUM|^NULL$", re.IGNORECASE)
"""Types of columns that are searched; NULL is said of what a view computes."""


class NamedCells(BaseModel, frozen=True):
    """Cells of one column."""

    database: str
    table: str
    column: str
    cells: list[str] = Field(description="As the database spells them.")


def named_cells(engine: Engine, catalog: Catalog, text: str, stop: Stop, until: float) -> list[NamedCells]:
    """The cells of text columns that are runs of words of `text`. Blocking, until that time (monotonic)."""
    runs = list(dict.fromkeys(_runs(text)))
    limits = Limits(rows=CELLS, bytes=10_000, cell_chars=200, seconds=COLUMN_SECONDS)
    out = []
    for table, column in _columns(catalog) if runs else ():
        if stop.requested or time.monotonic() > until:
            break
        try:
            _, rows = engine.run(_statement(table, column, runs), limits, stop)
        except ToolsError as error:
            logger.info("a column was left out", extra={"column": column.name, "reason": str(error)})
            continue
        if cells := [cell for (cell,) in rows[:CELLS] if isinstance(cell, str)]:
            out.append(NamedCells(database=catalog.name, table=table.name, column=column.name, cells=cells))
    return out


def _runs(text: str) -> Iterator[str]:
    """Runs of up to LONGEST words in lower case, as the text has them, also with the mark that follows:
    `Google Inc.`
    """
    text = text.encode("utf-8", "replace").decode("utf-8")  # half of a surrogate pair is in no cell
    found = list(_WORD.finditer(text))[-WORDS:]
    for i, first in enumerate(found):
        for last in found[i : i + LONGEST]:
            for end in (last.end(), last.end() + 1):
                run = text[first.start() : end].strip()
                if len(run) > 1:
                    yield run.lower()
                    # SQLite makes small letters of ASCII only.
                    yield re.sub("[A-Z]+", lambda capitals: capitals[0].lower(), run)


def _columns(catalog: Catalog) -> Iterator[tuple[Table, Column]]:
    """Columns of text, the first COLUMNS of them."""
    found = ((table, column) for table in catalog.tables for column in table.columns)
    texts = (pair for pair in found if _TEXT.search(pair[1].type))
    return (pair for _, pair in zip(range(COLUMNS), texts, strict=False))


def _statement(table: Table, column: Column, runs: list[str]) -> str:
    name = _quoted(column.name)
    source = ".".join(map(_quoted, table.name.split(".")))
    listed = ", ".join("'" + run.replace("'", "''") + "'" for run in runs)
    # Names come from the catalogue and are quoted, runs are literals: nothing of the text is read as SQL.
    chosen = f"SELECT DISTINCT {name} FROM {source}"  # noqa: S608
    return f"{chosen} WHERE lower(CAST({name} AS TEXT)) IN ({listed})"


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
