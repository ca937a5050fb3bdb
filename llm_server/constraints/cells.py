"""Answers whose figures are real, for models too small to copy well: numbers and words with a capital are
cells of the result, whole, those of a row together, rows in their order and each once.

Results are what tool messages hold: a header and rows of cells between ` | `, and `(3 rows)` at the end.
Without a result there is nothing to hold on to, and nothing is constrained.
"""

import re
from collections.abc import Sequence

from llm_server.constraints.english import OPENERS
from llm_server.constraints.gbnf import Rules, choice, literal
from llm_server.engine.grammar import Grammar

TABLE = re.compile(r"\A[^\n]+\n(?P<rows>.*)\n?\((?P<count>\d{1,9})\+? rows?\)\s*\Z", re.S)
MAX_CELLS = 400
"""Beyond this a grammar costs more than it helps."""
SOFT = "[^0-9A-Z]"
"""What may be said freely."""
BREAK = "[^0-9A-Za-z]"
"""What ends a word."""
GAP = 40
"""Characters between two cells of a row."""


def cells_grammar(text: str, asked: str) -> Grammar | None:
    """Grammar of an answer about the result in `text`, a tool message; None where it is no result or too
    large. Numbers and capitals of the question (`asked`) may be said again, and the number of rows.
    """
    table = TABLE.match(text)
    lines = table["rows"].splitlines() if table else []
    rows = [cells for line in lines if (cells := [c.strip() for c in line.split(" | ") if c.strip()])]
    if table is None or not rows or sum(map(len, rows)) > MAX_CELLS:
        return None
    rules = Rules()
    count = int(table["count"])
    counts = [str(count), *(str(count - shown) for shown in (10, len(rows)) if count > shown)]
    again = re.findall(r"\d+|[A-Z]\w*", asked)
    said = rules.add("said", choice(*map(literal, dict.fromkeys([*OPENERS, *counts, *again]))))
    rules.add("gap", f"{BREAK} {SOFT}{{0,{GAP - 1}}}")
    text = rules.add("text", f"({SOFT} | {said} {BREAK})*")
    if len(rows) == 1:
        row = rules.add("row", choice(*_only(rules, rows[0])))
        root = f"({SOFT} | ({said} | {row}) {BREAK})* ({said} | {row})?"
        return Grammar(rules.text(root), example=", ".join(rows[0]))
    rest = ""
    for cells in reversed(rows):
        # A row that is said twice is the beginning of a list without an end.
        rest = rules.add("rest", f'({_whole(cells)} ({BREAK} {text} | ""))? {rest}'.strip())
    return Grammar(rules.text(f"{text} {rest} ({said})?"), example=", ".join(rows[0]))


def _whole(cells: Sequence[str]) -> str:
    """Every cell of one of several rows."""
    return " gap ".join(map(literal, cells))


def _only(rules: Rules, cells: Sequence[str]) -> list[str]:
    """Some cells of the only row, beginning with any of them."""
    begins: list[str] = []
    for cell in reversed(cells):
        more = f" (gap {begins[-1]})?" if begins else ""
        begins.append(rules.add("cell", literal(cell) + more))
    return begins
