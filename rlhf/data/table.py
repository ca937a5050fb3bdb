"""Rows of a CSV file, as text: for preferences one question and two answers a row.

Of preferences the columns are `prompt`, `chosen` and `rejected`; `pair_id`, `source`, `weight`, `session`,
`user` and `at` may be there as well; those of other kinds are in `kinds`. The first row names them; commas,
semicolons or tabs separate them. The rest is RFC 4180. An apostrophe before a formula's first character is no
part of the text (OWASP, "CSV injection").
"""

import csv
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from rlhf.data.kinds import KINDS, RowKind
from rlhf.records import BadRow, decoded_lines

NEEDED, MORE = KINDS["preference"].ways[0], KINDS["preference"].more
FORMULA = re.compile(r"'*[=+\-@\t\r]")
"""How a cell begins that a spreadsheet runs as a formula, with the apostrophes that keep it from that."""


def guarded(cell: str) -> str:
    """A cell that no spreadsheet runs; `bare` gives the text back."""
    return f"'{cell}" if FORMULA.match(cell) else cell


def bare(cell: str) -> str:
    """The text of a cell, whether it was guarded or not."""
    return cell[1:] if cell.startswith("'") and FORMULA.match(cell) else cell


def csv_columns(
    path: Path, bad: list[BadRow], kind: RowKind | None = None
) -> Iterator[tuple[int, dict[str, object]]]:
    """(line, columns) of a CSV file, a row's line being the one that it begins on; with a kind, the columns
    have to be that kind's. What cannot be read goes to `bad`.

    Raises:
        OSError: the file cannot be opened or read.
    """
    before = len(bad)
    lines = list(decoded_lines(path, bad))
    if len(bad) > before:
        # A line that is left out could be the end of a quoted cell: what follows would be read wrongly.
        return
    header = lines[0][1] if lines else ""
    # The delimiter under which most of the columns are known; without a kind, under which there are most.
    known = _known(kind) if kind else ()
    delimiter = max(",;\t", key=lambda d: len({*_cells(header, d)} & {*known}) if kind else header.count(d))
    columns = _cells(header, delimiter)
    needed = _needed(columns, kind) if kind else ()
    if problem := _header_problem(columns, needed, known):
        bad.append(BadRow(str(path), 1, problem))
        return
    for number, cells in _numbered(path, (text + "\n" for _, text in lines), delimiter, bad):
        if number == 1:
            continue
        try:
            yield number, _columns(columns, cells, needed)
        except ValueError as error:
            bad.append(BadRow(str(path), number, str(error)))


def _known(kind: RowKind) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for way in (*kind.ways, kind.more) for name in way))


def _needed(columns: list[str], kind: RowKind) -> tuple[str, ...]:
    """The way to write a row of this kind that a table has most of."""
    return max(kind.ways, key=lambda way: len(set(way) & set(columns)) / len(way))


def _cells(line: str, delimiter: str) -> list[str]:
    try:
        return [cell.strip() for row in csv.reader([line], delimiter=delimiter, strict=True) for cell in row]
    except csv.Error:
        return []


def _header_problem(columns: list[str], needed: tuple[str, ...], known: tuple[str, ...]) -> str:
    if absent := [name for name in needed if name not in columns]:
        return f"the first row has no column {', '.join(absent)}; it must name {', '.join(needed)}"
    if twice := sorted({name for name in columns if columns.count(name) > 1}):
        return f"the first row names {', '.join(twice)} twice"
    if known and (unknown := [name for name in columns if name not in known]):
        return f"has unknown columns {', '.join(map(repr, unknown))}; known are {', '.join(known)}"
    return ""


def _numbered(
    path: Path, lines: Iterable[str], delimiter: str, bad: list[BadRow]
) -> Iterator[tuple[int, list[str]]]:
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    while True:
        number = reader.line_num + 1
        try:
            yield number, next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            reason = f"is not CSV: {error}; nothing after it was looked at"
            bad.append(BadRow(str(path), number, reason))
            return


def _columns(names: list[str], cells: list[str], needed: tuple[str, ...]) -> dict[str, object]:
    if not any(cell.strip() for cell in cells):
        raise ValueError("is empty")
    if len(cells) != len(names):
        raise ValueError(f"has {len(cells)} cells, the first row has {len(names)}")
    found = dict(zip(names, map(bare, cells), strict=True))
    if empty := [name for name in needed if not found[name].strip()]:
        raise ValueError(f"{', '.join(empty)} is empty")
    return {name: text for name, text in found.items() if text.strip()}
