"""Whether a reply is right: parsed call, exact arguments, the same rows, the right quotation."""

import json
import re
import sqlite3
from dataclasses import dataclass
from typing import Any

from rlhf.starter.cases import Case, Rows
from rlhf.starter.template import CALL, CALL_END

Call = tuple[str, dict[str, Any]]


@dataclass(frozen=True)
class Reply:
    """What the model wrote: text and calls; `broken` where a call did not parse."""

    text: str
    calls: list[Call]
    broken: bool = False


@dataclass(frozen=True)
class Verdict:
    """`valid` and `tool` say nothing where no call was expected or made."""

    valid: bool
    tool: bool
    exact: bool


def read_reply(text: str) -> Reply:
    """Cut calls out of raw text."""
    found: list[Call] = []
    for body in re.findall(rf"{re.escape(CALL)}\s*(.*?)\s*{re.escape(CALL_END)}", text, re.S):
        try:
            call = json.loads(body)
            found.append((call["name"], dict(call["arguments"])))
        except (ValueError, KeyError, TypeError):
            return Reply(text, [], broken=True)
    return Reply(text, found, broken=CALL in text and not found)


def fits(case: Case, call: Call) -> bool:
    """True where the call fits the declared schema: known tool, known and required arguments."""
    tools = {t["function"]["name"]: t["function"]["parameters"] for t in case.tools}
    if call[0] not in tools:
        return False
    schema = tools[call[0]]
    return set(schema["required"]) <= set(call[1]) <= set(schema["properties"])


def judge(case: Case, reply: Reply) -> Verdict:
    valid = not reply.broken and all(fits(case, call) for call in reply.calls)
    if case.answer is not None:
        return Verdict(valid, not reply.calls, right_answer(case.answer, reply.text))
    if case.call is None:
        return Verdict(valid, not reply.calls and not reply.broken, not reply.calls and not reply.broken)
    if not reply.calls:
        return Verdict(valid, False, False)
    name, arguments = reply.calls[0]
    if name != case.call[0]:
        return Verdict(valid, False, False)
    if case.rows is not None:
        return Verdict(valid, True, same_rows(case.rows, case.call[1]["sql"], str(arguments.get("sql", ""))))
    return Verdict(valid, True, plain(arguments) == plain(case.call[1]))


def plain(arguments: dict[str, Any]) -> dict[str, Any]:
    """Arguments with SQL on one table written one way: no `Table.` before a column, no alias."""
    sql = arguments.get("sql")
    if not isinstance(sql, str) or " JOIN " in sql:
        return arguments
    parts = re.split(r"('(?:[^']|'')*')", sql.strip().rstrip(";"))
    for i in range(0, len(parts), 2):
        parts[i] = re.sub(r"\s+AS \w+|\b\w+\.(?=\w)", "", re.sub(r"\s+", " ", parts[i]))
    return {**arguments, "sql": "".join(parts)}


def right_answer(expected: str, text: str) -> bool:
    """The same JSON, or the same quotation with the same number after or before it."""
    if expected.startswith("{"):
        return text.strip().removesuffix("<|im_end|>").strip() == expected
    found = re.search(r'(".*") (\[\d+\])', expected, re.S)
    if found is None:
        return False
    quoted, number = map(re.escape, found.groups())
    # An adapter may have learnt to cite first.
    return re.search(rf'{quoted} {number}|{number}[^"\[]*{quoted}', text) is not None


def same_rows(tables: Rows, wanted: str, got: str) -> bool:
    """True where both statements give the same rows, in any order."""
    connection = sqlite3.connect(":memory:")
    try:
        for name, (columns, rows) in tables.items():
            names = ", ".join(f'"{c}"' for c in columns)
            connection.execute(f'CREATE TABLE "{name}" ({names})')
            marks = ", ".join("?" for _ in columns)
            connection.executemany(f'INSERT INTO "{name}" VALUES ({marks})', rows)  # noqa: S608 (own names)
        right = connection.execute(wanted).fetchall()
        connection.set_progress_handler(lambda: 1, 2_000_000)
        try:
            made = connection.execute(got).fetchall()
        except (sqlite3.Error, sqlite3.Warning):
            return False
        return sorted(map(repr, right)) == sorted(map(repr, made))
    finally:
        connection.close()
