"""Questions on one table with its columns (WikiSQL), in the prompt's shape; whole tables are held out."""

import random
import re
from collections.abc import Sequence
from typing import Any

from rlhf.starter.sample import held_out
from rlhf.starter.words import Words

Record = dict[str, Any]
LITERAL = re.compile(r"'((?:[^']|'')*)'")


def is_held_out(record: Record) -> bool:
    """True for one table in ten, by the hash of its columns."""
    return held_out(" ".join(sorted(record["schema"]["t"])))


def tidy(record: Record) -> tuple[str, str] | None:
    """(question, SELECT over `t`), literals spelled as in the question; None where one is not said."""
    question, missing = re.sub(r"\s+", " ", record["question"]).strip(), False

    def said(match: re.Match[str]) -> str:
        nonlocal missing
        value = match[1].replace("''", "'").strip()
        at = question.lower().find(value.lower())
        if at < 0 or not value:
            missing = True
            return match[0]
        return "'" + question[at : at + len(value)].replace("'", "''") + "'"

    sql = LITERAL.sub(said, record["sql"])
    return None if missing else (question, re.sub(r"COUNT\(\w+\)", "COUNT(*)", sql))


def styled(name: str, style: str) -> str:
    return "".join(part.capitalize() for part in name.split("_")) if style == "camel" else name


Asked = tuple[str, str, str]
"""A question, its SELECT and the name of its table."""


def by_table(records: Sequence[Record]) -> list[list[Record]]:
    """Questions about the same columns together."""
    groups: dict[tuple[str, ...], list[Record]] = {}
    for record in records:
        groups.setdefault(tuple(record["schema"]["t"]), []).append(record)
    return list(groups.values())


def table_samples(
    rng: random.Random,
    words: Words,
    records: Sequence[Record],
    others: Sequence[Record],
    count: int = 1,
    plain: bool = False,
) -> tuple[list[Asked], list[str], list[str]] | None:
    """(questions about one table, schema lines, its columns); it gets a name and sometimes neighbours."""
    pairs = [pair for pair in map(tidy, rng.sample(list(records), min(count, len(records)))) if pair]
    if not pairs:
        return None
    style = "snake" if plain or rng.random() < 0.7 else "camel"
    names = table_names(rng, words, 1 + (0 if plain or rng.random() < 0.7 else rng.randint(1, 3)))
    name = styled(names[0], style)
    columns = list(records[0]["schema"]["t"])
    if not plain:
        rng.shuffle(columns)
    asked = [(question, rename(sql, columns, style, name), name) for question, sql in pairs]
    shown = [styled(column, style) for column in columns]
    lines = [f"{name}({', '.join(shown)})"]
    for other in names[1:]:
        far = rng.choice(others)["schema"]["t"]
        lines.append(f"{styled(other, style)}({', '.join(styled(c, style) for c in far)})")
    rng.shuffle(lines)
    return asked, lines, shown


def table_names(rng: random.Random, words: Words, count: int) -> list[str]:
    out: list[str] = []
    while len(out) < count:
        name = rng.choice(
            ("t", "data", "results", "records", words.pick(rng, "word"), words.pick(rng, "word"))
        )
        if name not in out:
            out.append(name)
    return out


def rename(sql: str, columns: Sequence[str], style: str, table: str) -> str:
    """Names outside the literals in the listing's style."""
    known = set(columns)
    parts = re.split(r"('(?:[^']|'')*')", sql)
    for i in range(0, len(parts), 2):
        parts[i] = re.sub(r"\bFROM t\b", f"FROM {table}", parts[i])
        parts[i] = re.sub(r"\w+", lambda m: styled(m[0], style) if m[0] in known else m[0], parts[i])
    return "".join(parts)
