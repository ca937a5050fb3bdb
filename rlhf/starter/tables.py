"""Result tables as the SQL tool prints them, and the sentence that reports them."""

import random
import re
from collections.abc import Sequence

Cell = str | int | float | None
SHOWN = 20


def table_text(columns: Sequence[str], rows: Sequence[Sequence[Cell]]) -> str:
    """Header and rows joined with ` | `, then `(N rows)`; at most 20 rows are shown."""
    lines = [" | ".join(columns), *(" | ".join(cell_text(c) for c in row) for row in rows[:SHOWN])]
    return "\n".join(lines) + f"\n({len(rows)} row{'' if len(rows) == 1 else 's'})"


def cell_text(cell: Cell) -> str:
    if isinstance(cell, float):
        return str(round(cell, 2))
    return "" if cell is None else str(cell)


def humane(name: str) -> str:
    """`BillingCountry`, `unit_price`, `SUM(Total)` as a person says them."""
    name = re.sub(r"\w+\.", "", name)
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).replace("_", " ").lower()


def report(
    rng: random.Random, question: str, sql: str, columns: Sequence[str], rows: Sequence[Sequence[Cell]]
) -> str:
    """One or two sentences with the figures copied."""
    if not rows or (len(rows) == 1 and all(cell is None for cell in rows[0])):
        return "The database has no matching rows."
    if len(rows) == 1 and len(columns) == 1:
        return single(rng, question, sql, columns[0], rows[0][0])
    numeric = isinstance(rows[0][-1], int | float) and len(columns) > 1
    label = humane(columns[-1])
    if len(rows) == 1:
        name, last = " ".join(cell_text(c) for c in rows[0][:-1]), cell_text(rows[0][-1])
        if numeric:
            return f"{name}, with {label} {last}."
        return f"The database says: {name} {last}."
    shown = rows[:10] if numeric else rows[:SHOWN]
    if numeric:
        listed = ", ".join(
            f"{' '.join(cell_text(c) for c in row[:-1])} ({cell_text(row[-1])})" for row in shown
        )
    else:
        listed = ", ".join(" ".join(cell_text(c) for c in row) for row in shown)
    limit = re.search(r"LIMIT (\d+)$", sql)
    if limit and numeric:
        return f"The top {len(rows)} by {label}: {listed}."
    more = len(rows) - len(shown)
    tail = f" and {more} more" if more else ""
    return f"By {label}: {listed}{tail}." if numeric else f"There are {len(rows)}: {listed}{tail}."


def single(rng: random.Random, question: str, sql: str, column: str, cell: Cell) -> str:
    """One figure."""
    value = cell_text(cell)
    counted = re.match(r"SELECT COUNT\(\*\) FROM (\w+)", sql)
    if counted:
        noun = re.search(
            r"(?i)(?:how many|number of|count of|count)(?: all| the| our| different)? ([a-z]+)", question
        )
        things = noun[1].lower() if noun else humane(counted[1])
        return f"There {'is' if value == '1' else 'are'} {value} {things}."
    function = re.match(r"SELECT (AVG|SUM|MIN|MAX)\((?:\w+\.)?(\w+)\)", sql)
    if function:
        word = {"AVG": "average", "SUM": "total", "MIN": "minimum", "MAX": "maximum"}[function[1]]
        return f"The {word} {humane(function[2])} is {value}."
    distinct = re.match(r"SELECT COUNT\(DISTINCT (?:\w+\.)?(\w+)\)", sql)
    if distinct:
        return f"There are {value} different values of {humane(distinct[1])}."
    return f"The {humane(column)} is {value}."
