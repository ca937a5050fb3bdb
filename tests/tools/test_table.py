"""Cells that JSON can carry, and text that a model reads without noise."""

import datetime
import decimal
import uuid

import pytest

from tools.sql.limits import Limits
from tools.sql.table import Cell, QueryResult, capped, cell, spoken


@pytest.mark.parametrize(
    ("value", "sent"),
    [
        (None, None),
        (True, True),
        (7, 7),
        (2**60, "1152921504606846976"),
        (1.5, 1.5),
        (float("inf"), "inf"),
        (decimal.Decimal("49.62"), 49.62),
        (decimal.Decimal("0.1234567890123456789"), "0.1234567890123456789"),
        (decimal.Decimal("NaN"), "NaN"),
        (datetime.datetime(2024, 2, 1, 10, 30), "2024-02-01 10:30:00"),
        (datetime.date(2024, 2, 1), "2024-02-01"),
        (datetime.timedelta(days=1), "1 day, 0:00:00"),
        (b"\x00\x01", "base64:AAE="),
        (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (["a", 1], "['a', 1]"),
        ("x" * 50, "x" * 40 + "… (50 characters)"),
    ],
)
def test_cells(value: object, sent: Cell) -> None:
    assert cell(value, 40) == sent


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (None, "NULL"),
        (2328.6000000000004, "2328.6"),
        (0.1 + 0.2, "0.3"),
        (5, "5"),
        ("two\nlines", "two lines"),
        (True, "True"),
    ],
)
def test_spoken(value: Cell, said: str) -> None:
    assert spoken(value) == said


def test_the_text_has_twenty_rows_at_most() -> None:
    result = QueryResult(
        database="d",
        sql="s",
        columns=["a", "b"],
        rows=[[n, None] for n in range(50)],
        row_count=50,
        truncated=False,
        ms=1,
    )
    lines = result.text().splitlines()
    assert (lines[0], lines[1], lines[-1], len(lines)) == ("a | b", "0 | NULL", "(50 rows)", 22)


def test_one_row_is_one_row() -> None:
    result = QueryResult(
        database="d", sql="s", columns=["n"], rows=[[59]], row_count=1, truncated=False, ms=1
    )
    assert result.text() == "n\n59\n(1 row)"


def test_bytes_are_capped() -> None:
    limits = Limits(rows=100, bytes=1000, cell_chars=500, seconds=1)
    rows, cut = capped([("x" * 400,)] * 10, limits)
    assert (len(rows), cut) == (2, True)
