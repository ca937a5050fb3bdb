"""CSV to lines that can be found and quoted: each row with the names of its columns."""

import csv
import io

from tools.rag.text import Builder, Extract

SAMPLE_CHARS = 20_000
FIELD_CHARS = 1_000_000


def parse_csv(source: str) -> Extract:
    """One line a row: `name: value; name: value`. The first row holds the names."""
    csv.field_size_limit(FIELD_CHARS)
    rows = csv.reader(io.StringIO(source, newline=""), dialect=_dialect(source))
    header = next((row for row in rows if any(cell.strip() for cell in row)), [])
    builder = Builder()
    builder.block("; ".join(_one_line(name) for name in header if name.strip()))
    for row in rows:
        builder.block(_line(header, row), "\n")
    return builder.build()


def _dialect(source: str) -> type[csv.Dialect]:
    try:
        return csv.Sniffer().sniff(source[:SAMPLE_CHARS], delimiters=",;\t|")
    except csv.Error:
        return csv.excel


def _line(header: list[str], row: list[str]) -> str:
    names = [*header, *[""] * (len(row) - len(header))]
    pairs = (
        f"{_one_line(name)}: {_one_line(value)}" if name.strip() else _one_line(value)
        for name, value in zip(names, row, strict=False)
        if value.strip()
    )
    return "; ".join(pairs)


def _one_line(text: str) -> str:
    return " ".join(text.split())
