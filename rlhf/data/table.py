"""Preferences from a CSV file: one question and two answers a row.

The columns are `prompt`, `chosen` and `rejected`, as text; `pair_id`, `source`, `weight`, `session`, `user`
and `at` may be there as well. The first row names them; commas, semicolons or tabs separate them. The rest
is RFC 4180. An apostrophe before a formula's first character is no part of the text (OWASP, "CSV injection").
"""

import csv
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from rlhf.records import BadRow, Scan, decoded_lines, row_of

NEEDED = ("prompt", "chosen", "rejected")
MORE = ("pair_id", "source", "weight", "session", "user", "at")
FORMULA = re.compile(r"'*[=+\-@\t\r]")
"""How a cell begins that a spreadsheet runs as a formula, with the apostrophes that keep it from that."""


def guarded(cell: str) -> str:
    """A cell that no spreadsheet runs; `bare` gives the text back."""
    return f"'{cell}" if FORMULA.match(cell) else cell


def bare(cell: str) -> str:
    """The text of a cell, whether it was guarded or not."""
    return cell[1:] if cell.startswith("'") and FORMULA.match(cell) else cell


def scan_csv(path: Path) -> Scan:
    """Every row of a CSV file, good and bad; a row's line is the one that it begins on.

    Raises:
        OSError: the file cannot be opened or read.
    """
    scan = Scan()
    lines = list(decoded_lines(path, scan.bad))
    if scan.bad:
        # A line that is left out could be the end of a quoted cell: what follows would be read wrongly.
        return scan
    header = lines[0][1] if lines else ""
    delimiter = next((d for d in ",;\t" if set(NEEDED) <= set(_cells(header, d))), ",")
    columns = _cells(header, delimiter)
    if problem := _header_problem(columns):
        scan.bad.append(BadRow(str(path), 1, problem))
        return scan
    for number, cells in _numbered(path, (text + "\n" for _, text in lines), delimiter, scan.bad):
        if number == 1:
            continue
        try:
            scan.rows.append((number, row_of(_columns(columns, cells))))
        except ValueError as error:
            scan.bad.append(BadRow(str(path), number, str(error)))
    if not scan.rows and not scan.bad:
        scan.bad.append(BadRow(str(path), 0, "has no rows"))
    return scan


def _cells(line: str, delimiter: str) -> list[str]:
    try:
        return [cell.strip() for row in csv.reader([line], delimiter=delimiter, strict=True) for cell in row]
    except csv.Error:
        return []


def _header_problem(columns: list[str]) -> str:
    if absent := [name for name in NEEDED if name not in columns]:
        return f"the first row has no column {', '.join(absent)}; it must name {', '.join(NEEDED)}"
    if twice := sorted({name for name in columns if columns.count(name) > 1}):
        return f"the first row names {', '.join(twice)} twice"
    if unknown := [name for name in columns if name not in NEEDED + MORE]:
        return f"has unknown columns {', '.join(map(repr, unknown))}; known are {', '.join(NEEDED + MORE)}"
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


def _columns(names: list[str], cells: list[str]) -> dict[str, object]:
    if not any(cell.strip() for cell in cells):
        raise ValueError("is empty")
    if len(cells) != len(names):
        raise ValueError(f"has {len(cells)} cells, the first row has {len(names)}")
    found = dict(zip(names, map(bare, cells), strict=True))
    if empty := [name for name in NEEDED if not found[name].strip()]:
        raise ValueError(f"{', '.join(empty)} is empty")
    roles = {"prompt": "user", "chosen": "assistant", "rejected": "assistant"}
    row: dict[str, object] = {name: [{"role": roles[name], "content": found[name]}] for name in NEEDED}
    return row | {name: found[name] for name in MORE if found.get(name, "").strip()}
