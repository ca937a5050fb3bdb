"""Answers whose figures are real, for models too small to copy well: numbers and words with a capital are
cells of the result, whole, those of a row together and in their order.

Results are what tool messages hold: a header and rows of cells between ` | `, and `(3 rows)` at the end.
Without a result there is nothing to hold on to, and nothing is constrained.
"""

import re
from collections.abc import Sequence

from llm_server.constraints.english import OPENERS
from llm_server.constraints.gbnf import Rules, choice, literal
from llm_server.engine.grammar import Grammar

TABLE = re.compile(r"\A[^\n]+\n(?P<rows>.*)\n?\((?P<count>\d+)\+? rows?\)\s*\Z", re.S)
SOFT = "[^0-9A-Z]"
"""What may be said freely."""
GAP = 40
"""Characters between two cells of a row."""


def cells_grammar(text: str, asked: str) -> Grammar | None:
    """Grammar of an answer about the result in `text`, a tool message; None where it is no result. Numbers
    of the question (`asked`) may be said again, and the number of rows.
    """
    table = TABLE.match(text)
    lines = table["rows"].splitlines() if table else []
    rows = [cells for line in lines if (cells := [c.strip() for c in line.split(" | ") if c.strip()])]
    if table is None or not rows:
        return None
    rules = Rules()
    count = int(table["count"])
    numbers = [str(count), *(str(count - shown) for shown in (10, len(rows)) if count > shown)]
    numbers += re.findall(r"\d+", asked)
    opener = rules.add("opener", f"{choice(*map(literal, OPENERS))} [^A-Za-z0-9]")
    number = rules.add("number", f"{choice(*map(literal, dict.fromkeys(numbers)))} [^A-Za-z0-9]")
    row = rules.add("row", choice(*dict.fromkeys(_row(cells, alone=len(rows) == 1) for cells in rows)))
    soft = rules.add("soft", SOFT)
    return Grammar(rules.text(f"({soft} | {opener} | {number} | {row})*"), example=", ".join(rows[0]))


def _row(cells: Sequence[str], alone: bool) -> str:
    """The cells of one row in their order; of the only row any of them, of several rows all."""
    if alone:
        return choice(*(_from(cells[i:], optional=True) for i in range(len(cells))))
    return _from(cells, optional=False)


def _from(cells: Sequence[str], optional: bool) -> str:
    rest = ""
    for cell in reversed(cells):
        more = f"{SOFT}{{1,{GAP}}} {rest}" if rest else ""
        rest = f"{literal(cell)} {f'({more})?' if more and optional else more}".strip()
    return rest
