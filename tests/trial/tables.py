"""Markdown tables, and the section of a README that they replace."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

BEGIN = "<!-- trial:begin -->"
END = "<!-- trial:end -->"


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table with one line a row."""
    lines = [_line(head), _line(["---"] * len(head)), *(_line(row) for row in rows)]
    return "\n".join(lines) + "\n"


def cell(value: object) -> str:
    """`value` in one table cell: yes or no for truth, two decimals for floats, no line breaks or bars."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.2f}"
    return " ".join(str(value).replace("|", "\\|").split())


def code(sql: str) -> str:
    """`sql` as inline code; empty stays empty."""
    return f"`{sql}`" if sql else ""


def shorten(text: str, most: int = 160) -> str:
    """`text` on one line, cut at a word after at most `most` characters."""
    text = " ".join(text.split())
    return text if len(text) <= most else text[:most].rsplit(" ", 1)[0] + " ..."


def replace_section(document: str, section: str) -> str:
    """`document` with what stands between the two marks replaced; ValueError where a mark is missing."""
    head, begin, rest = document.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"no {BEGIN} ... {END} in the document: add both marks where the tables shall stand")
    return f"{head}{BEGIN}\n{section.strip()}\n{END}{tail}"


def _line(cells: Sequence[object]) -> str:
    return "| " + " | ".join(cell(value) for value in cells) + " |"
