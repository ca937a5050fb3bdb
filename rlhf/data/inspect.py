"""What a file of rows is: format, encoding, columns, text statistics. One pass, a row in memory at a time.

The shape is inferred from the columns; any file of rows can be looked at. Tokens are counted by a base's own
tokenizer where one is given, of a long file those of its beginning; else they are an estimate.
"""

import codecs
import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from rlhf.data.columns import suggested
from rlhf.data.parquet import parquet_rows
from rlhf.data.tokens import Tokens
from rlhf.errors import DatasetError

Format = Literal["jsonl", "csv", "parquet"]
BLOCK = 1 << 20
LINE = 16 << 20
"""Longest line, in bytes."""
CELL = 4 << 20
"""Longest cell of a CSV file, in characters."""
COLUMNS = 1000
TEXT = 1 << 30
"""Characters of a whole file: what is compressed may be much larger than its bytes."""
DISTINCT = 1000
"""Values of a column that are told apart."""
EXAMPLES = 5
COUNTED = 4 << 20
"""Characters whose tokens are counted; those of the rest are taken to be as many."""
PACKED = {b"PK\x03\x04": "a ZIP archive", b"\x1f\x8b": "packed with gzip", b"BZh": "packed with bzip2"}
SHAPES: dict[str, tuple[frozenset[str], ...]] = {
    "preference": (frozenset({"prompt", "chosen", "rejected"}),),
    "thumbs": (frozenset({"prompt", "completion", "label"}),),
    "chat": (frozenset({"messages"}), frozenset({"conversations"})),
    "instruction": (frozenset({"instruction", "output"}), frozenset({"prompt", "completion"})),
    "retrieval": (frozenset({"query", "positive"}), frozenset({"anchor", "positive"})),
    "labels": (frozenset({"text", "label"}),),
    "text": (frozenset({"text"}),),
}
"""Columns that make a shape; the first that fits."""


@dataclass
class Column:
    """What is known of a column so far."""

    name: str
    types: set[str] = field(default_factory=set)
    missing: int = 0
    texts: int = 0
    characters: int = 0
    words: int = 0
    shortest: int = 0
    longest: int = 0
    tokens: int = 0
    all: int = 0
    """Characters of all values, those that are no text as JSON."""
    counted: int = 0
    """Characters whose tokens were counted."""
    values: set[int] = field(default_factory=set)

    def add(self, value: Any, tokens: Tokens, counting: bool) -> int:
        """Take a value in; gives its characters."""
        if value is None or value == "":
            self.missing += 1
            return 0
        self.types.add(_type(value))
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
        if len(self.values) < DISTINCT:
            self.values.add(hash(text))
        length = len(text)
        if counting:
            self.tokens += tokens.count(text)
            self.counted += length
        self.all += length
        if isinstance(value, str):
            self.shortest = min(self.shortest, length) if self.texts else length
            self.longest = max(self.longest, length)
            self.texts += 1
            self.characters += length
            self.words += len(text.split())
        return length

    def all_tokens(self) -> int:
        """Of all values; what was not counted is taken to be like what was."""
        return round(self.tokens * self.all / self.counted) if self.counted else 0

    def plain(self) -> dict[str, Any]:
        """For reports."""
        known: dict[str, Any] = {"name": self.name, "type": "|".join(sorted(self.types)) or "null"}
        known |= {"missing": self.missing, "distinct": len(self.values), "text": None}
        if self.texts:
            known["text"] = {
                "characters": self.characters,
                "words": self.words,
                "shortest": self.shortest,
                "longest": self.longest,
                "mean": round(self.characters / self.texts, 1),
                "tokens": self.all_tokens(),
            }
        return known


def inspect(path: Path, tokens: Tokens | None = None) -> dict[str, Any]:
    """Format, rows, shape, columns and unreadable rows of a file; without `tokens` those are estimated.

    Raises:
        DatasetError: it is none that can be read; names the byte where its encoding breaks.
    """
    tokens, found = tokens or Tokens(), infer(path)
    if found != "parquet":
        check_encoding(path)
    columns: dict[str, Column] = {}
    bad: list[str] = []
    rows, total, count = 0, 0, 0
    for number, row in rows_of(path, found):
        if isinstance(row, str):
            count += 1
            bad += [f"line {number}: {row}"] if len(bad) < EXAMPLES else []
            continue
        for name in row:
            if name not in columns:
                columns[name] = Column(name, missing=rows)
        if len(columns) > COLUMNS:
            raise DatasetError(f"has more than {COLUMNS} columns at row {number}")
        counting = total < COUNTED
        total += sum(column.add(row.get(name), tokens, counting) for name, column in columns.items())
        if total > TEXT:
            raise DatasetError(f"holds more than {TEXT >> 20} million characters; split it up")
        rows += 1
    if not rows:
        raise DatasetError(f"has no rows that can be read{': ' + bad[0] if bad else ''}")
    return {
        "format": found,
        "rows": rows,
        "shape": shape(set(columns)),
        "suggested": suggested(columns),
        "columns": [column.plain() for column in columns.values()],
        "characters": total,
        "tokens": sum(column.all_tokens() for column in columns.values()),
        "tokens_by": tokens.by if total <= COUNTED else f"estimate from the beginning: {tokens.by}",
        "unreadable": {"rows": count, "examples": bad},
    }


def infer(path: Path) -> Format:
    """The format, by content and not by name.

    Raises:
        DatasetError: it is none of the three.
    """
    with path.open("rb") as file:
        head = file.read(4096)
    if head.startswith(b"PAR1"):
        return "parquet"
    for magic, what in PACKED.items():
        if head.startswith(magic):
            raise DatasetError(f"is {what}; unpack it first")
    text = head.removeprefix(codecs.BOM_UTF8).lstrip()
    if not text:
        raise DatasetError("is empty")
    if text.startswith(b"["):
        raise DatasetError("is one JSON list; write JSON lines instead, one object a line")
    return "jsonl" if text.startswith(b"{") else "csv"


def check_encoding(path: Path) -> None:
    """Make sure that a file is UTF-8 from its first to its last byte.

    Raises:
        DatasetError: it is not; names the byte, counted from 0.
    """
    decoder, at, beyond = codecs.getincrementaldecoder("utf-8")(), 0, False
    with path.open("rb") as file:
        for block in iter(lambda: file.read(BLOCK), b""):
            if at == 0 and block.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
                raise DatasetError("is UTF-16 from byte 0 on; save it as UTF-8")
            kept = len(decoder.getstate()[0])
            if (zero := block.find(b"\0")) >= 0:
                raise DatasetError(f"has a zero at byte {at + zero}, which no text has; save it as UTF-8")
            try:
                text = decoder.decode(block)
            except UnicodeDecodeError as error:
                raise _not_utf8(error, at - kept, beyond) from error
            beyond = beyond or not text.isascii()
            at += len(block)
    try:
        decoder.decode(b"", final=True)
    except UnicodeDecodeError as error:
        raise _not_utf8(error, at - len(error.object), beyond) from error


def _not_utf8(error: UnicodeDecodeError, base: int, beyond: bool) -> DatasetError:
    beyond = beyond or not error.object[: error.start].isascii()
    how = "mixes encodings: UTF-8 before, something else" if beyond else "is not UTF-8"
    byte = error.object[error.start]
    return DatasetError(f"{how} at byte {base + error.start} (0x{byte:02x}); save it as UTF-8")


def shape(columns: set[str]) -> str:
    """What rows with these columns are for; "table" where no shape fits."""
    fits = (name for name, needs in SHAPES.items() if any(need <= columns for need in needs))
    return next(fits, "table")


def rows_of(path: Path, found: Format) -> Iterator[tuple[int, dict[str, Any] | str]]:
    """(line, row), or the reason instead of a row that cannot be read."""
    try:
        if found == "parquet":
            yield from enumerate(parquet_rows(path), 1)
        else:
            yield from _csv(path) if found == "csv" else _jsonl(path)
    except ValueError as error:
        raise DatasetError(str(error)) from error


def _jsonl(path: Path) -> Iterator[tuple[int, dict[str, Any] | str]]:
    with path.open("rb") as file:
        number = 0
        while raw := file.readline(LINE + 1):
            number += 1
            if len(raw) > LINE:
                raise DatasetError(f"line {number} is longer than {LINE >> 20} MB")
            text = raw.decode("utf-8-sig" if number == 1 else "utf-8").strip()
            if not text:
                yield number, "is empty"
                continue
            try:
                value = json.loads(text)
            except (ValueError, RecursionError) as error:
                yield number, f"is not JSON: {error}"
                continue
            yield number, value if isinstance(value, dict) else "is JSON, but no object with columns"


def _csv(path: Path) -> Iterator[tuple[int, dict[str, Any] | str]]:
    csv.field_size_limit(CELL)
    with path.open(encoding="utf-8-sig", newline="") as file:
        header = file.readline(LINE + 1)
        if len(header) > LINE:
            raise DatasetError(f"line 1 is longer than {LINE >> 20} MB")
        file.seek(0)
        delimiter = max(",;\t", key=header.count)
        reader = csv.reader(file, delimiter=delimiter, strict=True)
        names = [name.strip() for name in next(reader)]
        if len(set(names)) < len(names) or not all(names):
            raise DatasetError("the first row must name every column, each once")
        while True:
            number = reader.line_num + 1
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                raise DatasetError(f"line {number} is not CSV: {error}") from error
            if len(cells) == len(names):
                yield number, dict(zip(names, cells, strict=True))
            else:
                yield number, f"has {len(cells)} cells, the first row has {len(names)}"


def _type(value: Any) -> str:
    kinds = {bool: "boolean", int: "integer", float: "number", str: "string", list: "list", dict: "object"}
    return kinds.get(type(value), type(value).__name__)
