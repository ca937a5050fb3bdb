"""What is wrong with a file of rows of any shape: missing values, equal and nearly equal rows, personal data.

Preferences have rules of their own (`check`); here every row is a set of columns.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

from rlhf.data.check import EXAMPLES, Finding, Level, Report, check_rows
from rlhf.data.inspect import SHAPES, check_encoding, infer, rows_of, shape
from rlhf.data.kinds import KINDS
from rlhf.data.limit import MEGABYTES
from rlhf.data.near import near_pairs, prompt_words
from rlhf.data.pii import redact
from rlhf.data.read import read_files
from rlhf.records import Message, canonical

NEAR = 20_000
"""Rows that are compared with each other; in a longer file the first ones."""


def check_file(path: Path, name: str, megabytes: int = MEGABYTES) -> Report:
    """Errors and warnings with `name:line`; the rules follow from the columns.

    Raises:
        DatasetError: it is no file of rows, or holds more than `megabytes` of preferences.
    """
    found = infer(path)
    if found != "parquet":
        check_encoding(path)
    table = _Table(name)
    if shape(table.read(path)) == "preference":
        read = read_files([path], KINDS["preference"], megabytes=megabytes)
        report = check_rows(read.placed, read.bad)
        return Report(report.rows, tuple(_named(one, path, name) for one in report.findings), report.useless)
    return table.report()


def _named(finding: Finding, path: Path, name: str) -> Finding:
    examples = tuple(text.replace(str(path), name) for text in finding.examples)
    return Finding(finding.level, finding.rule, finding.count, examples)


class _Table:
    def __init__(self, name: str) -> None:
        self.name, self.rows = name, 0
        self.found: dict[tuple[Level, str], list[str]] = defaultdict(list)
        self.counts: Counter[tuple[Level, str]] = Counter()
        self.seen: dict[bytes, int] = {}
        self.texts: list[tuple[int, tuple[str, ...]]] = []

    def read(self, path: Path) -> set[str]:
        """Look at every row; gives the columns of all."""
        columns: set[str] = set()
        needed: frozenset[str] = frozenset()
        for line, row in rows_of(path, infer(path)):
            if isinstance(row, str):
                self.say("error", "unreadable", line, row)
                continue
            self.rows += 1
            if not columns <= set(row) or not set(row) <= columns:
                columns |= set(row)
                needed = _needed(columns)
            self.one(line, row, needed)
        return columns

    def one(self, line: int, row: dict[str, Any], needed: frozenset[str]) -> None:
        missing = sorted(name for name, value in row.items() if value is None or value == "")
        missing += sorted(needed - set(row))
        for name in missing:
            self.say("error" if name in needed else "warning", f"missing value in {name}", line)
        if (before := self.seen.setdefault(sha256(canonical(row)).digest(), line)) != line:
            self.say("warning", "exact duplicate", line, f"is like {self.name}:{before}")
            return
        text = "\n".join(value for value in row.values() if isinstance(value, str))
        personal: Counter[str] = Counter()
        redact(text, personal)
        for kind in sorted(personal):
            self.say("warning", f"personal data: {kind}", line)
        if len(self.texts) < NEAR and text:
            self.texts.append((line, prompt_words([Message(role="user", content=text)])))

    def say(self, level: Level, rule: str, line: int, more: str = "") -> None:
        self.counts[level, rule] += 1
        if len(examples := self.found[level, rule]) < EXAMPLES:
            examples.append(f"{self.name}:{line}{f' {more}' if more else ''}")

    def report(self) -> Report:
        """What was found, nearly equal rows included."""
        for one, other in self._near():
            self.say("warning", "near-duplicate", other, f"is like {self.name}:{one}")
        findings = (
            Finding(level, rule, count, tuple(self.found[level, rule]))
            for (level, rule), count in sorted(self.counts.items())
        )
        return Report(self.rows, tuple(findings), frozenset())

    def _near(self) -> Iterator[tuple[int, int]]:
        for one, other in near_pairs([words for _, words in self.texts]):
            yield self.texts[one][0], self.texts[other][0]


def _needed(columns: set[str]) -> frozenset[str]:
    """Columns without which a row of this shape is useless."""
    fitting = (need for need in SHAPES.get(shape(columns), ()) if need <= columns)
    return next(fitting, frozenset())
