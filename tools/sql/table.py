"""The result of a query: capped cells that JSON can carry, and the text that a model reads."""

import base64
import datetime
import decimal
import math
import uuid
from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, Field

from tools.sql.limits import Limits

Cell = str | int | float | bool | None

TEXT_ROWS = 20
TEXT_CELL_CHARS = 200
SAFE_INTEGER = 2**53
"""JSON numbers beyond this lose digits in a browser (RFC 8259 section 6)."""


class QueryResult(BaseModel):
    """Rows of one query."""

    database: str
    sql: str = Field(description="The statement that ran.")
    columns: list[str]
    rows: list[list[Cell]]
    row_count: int = Field(description="Number of rows in `rows`.")
    truncated: bool = Field(description="True when there was more than what is returned.")
    ms: float = Field(description="Milliseconds that the database took.")

    def text(self) -> str:
        """Header and rows joined with ` | `, then the number of rows."""
        shown = [" | ".join(map(spoken, row)) for row in self.rows[:TEXT_ROWS]]
        many = f"{self.row_count}{'+' if self.truncated else ''}"
        noun = "row" if many == "1" else "rows"
        return "\n".join([" | ".join(self.columns), *shown, f"({many} {noun})"])


def capped(rows: Sequence[Sequence[Any]], limits: Limits) -> tuple[list[list[Cell]], bool]:
    """The rows within the caps, and whether anything was left out."""
    kept: list[list[Cell]] = []
    size = 0
    for row in rows:
        cells = [cell(value, limits.cell_chars) for value in row]
        size += sum(len(value) if isinstance(value, str) else 8 for value in cells)
        if len(kept) == limits.rows or size > limits.bytes:
            return kept, True
        kept.append(cells)
    return kept, False


def cell(value: object, chars: int) -> Cell:
    """One value as JSON can carry it; what is longer than `chars` is cut and says so."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return value if abs(value) <= SAFE_INTEGER else str(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, decimal.Decimal):
        return _number(value)
    text = _as_text(value)
    return text if len(text) <= chars else f"{text[:chars]}… ({len(text)} characters)"


def _number(value: decimal.Decimal) -> Cell:
    if not value.is_finite():
        return str(value)
    as_float = float(value)
    return as_float if decimal.Decimal(repr(as_float)) == value else str(value)


def _as_text(value: object) -> str:
    if isinstance(value, bytes | memoryview):
        raw = bytes(value)
        return f"base64:{base64.b64encode(raw[:3000]).decode()}" if raw else ""
    if isinstance(value, datetime.datetime):
        return value.isoformat(sep=" ")
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    if isinstance(value, uuid.UUID):
        return str(value)
    return str(value)


def spoken(value: Cell) -> str:
    """A cell in the text for a model: no binary noise in sums, one line, not endless."""
    if value is None:
        return "NULL"
    if isinstance(value, float):
        return f"{value:.12g}" if abs(value) < 1e15 else str(value)
    line = " ".join(str(value).split())
    return line if len(line) <= TEXT_CELL_CHARS else f"{line[:TEXT_CELL_CHARS]}…"
