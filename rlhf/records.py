"""One preference as a row, and JSON lines of such rows. Free of torch, so that other rooms may import it.

The columns `prompt`, `chosen`, `rejected` and `tools` are those of TRL's conversational preference format;
messages are OpenAI's. The other columns say where the preference comes from.

A file is read as a whole or not at all: `scan_jsonl` gives good rows and bad ones, each with its line and
the reason, and `read_jsonl` raises if one is bad. Text is UTF-8; a byte-order mark and CRLF are taken off.
"""

import codecs
import json
import os
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any, Generic, Literal, NoReturn, Self, TypeVar

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, JsonValue, ValidationError, model_validator
from pydantic.functional_validators import AfterValidator
from pydantic_core import PydanticSerializationError

from rlhf.errors import BadRecords

Stars = Annotated[int, Field(ge=1, le=5)]
STARS = ("chosen_stars", "rejected_stars")
Source = Literal["choice", "thumbs", "correction", "rule", "judge", "documents", "synthetic"]
UTC_TIME = AfterValidator(lambda at: at.astimezone(UTC))
UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
RARE = ("passage", "made")
"""Columns of rows that were made, of documents or of other rows."""
REASONS = 3
"""How many faults of one row are named."""


class Strict(BaseModel):
    """A row or a part of one: no unknown columns, no change."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


Shape = TypeVar("Shape", bound=Strict)


class Message(Strict):
    """A message as in OpenAI's chat completions, text only."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | None = None
    tool_calls: list[dict[str, JsonValue]] | None = None
    tool_call_id: str | None = None
    name: str | None = None

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if self.content is None and not self.tool_calls:
            raise ValueError("a message needs content or tool_calls")
        return self

    def plain(self) -> dict[str, Any]:
        """As JSON, without the keys that are not set; `content` is always there, for chat templates."""
        set_ = self.model_dump(mode="json", exclude_none=True)
        return {"role": self.role, "content": self.content, **set_}


class Trace(Strict):
    """The generation that an answer is taken from."""

    trace_id: str
    generation_id: str
    model: str


class Made(Strict):
    """How a row was made from another one."""

    step: str
    of: str
    """Name of the other row."""
    by: str
    """A model's id, or "rules"."""


class PreferenceRow(Strict):
    """Two answers to one prompt, of which one was preferred."""

    pair_id: str = ""
    """Names the pair; made from the content where it is missing."""
    prompt: list[Message] = Field(min_length=1)
    chosen: list[Message] = Field(min_length=1)
    rejected: list[Message] = Field(min_length=1)
    tools: str | None = None
    """The tools that the model was offered: OpenAI's list as a JSON string, or null."""
    source: Source = "choice"
    weight: float = Field(default=1.0, gt=0, allow_inf_nan=False)
    session: str | None = None
    user: str | None = None
    chosen_trace: Trace | None = None
    rejected_trace: Trace | None = None
    at: Annotated[AwareDatetime, UTC_TIME] | None = None
    """When the preference was given, with its offset; null where nobody wrote it down."""
    chosen_stars: Stars | None = None
    """How good an annotator found the chosen answer by itself. Not there where nobody said."""
    rejected_stars: Stars | None = None
    made: Made | None = None

    @model_validator(mode="before")
    @classmethod
    def _named(cls, row: Any) -> Any:
        if isinstance(row, dict) and row.get("pair_id") in (None, ""):
            parts = [row.get(column) for column in ("prompt", "chosen", "rejected", "tools")]
            return {**row, "pair_id": sha256(canonical(parts)).hexdigest()[:16]}
        return row

    @model_validator(mode="after")
    def _answers_and_tools(self) -> Self:
        for column, messages in (("chosen", self.chosen), ("rejected", self.rejected)):
            if messages[0].role != "assistant":
                raise ValueError(
                    f"{column} starts with a message of the {messages[0].role}, not the assistant"
                )
        if self.tools is not None and not isinstance(_tools(self.tools), list):
            raise ValueError("tools is no list")
        return self

    def plain(self) -> dict[str, Any]:
        """As JSON, the columns in their fixed order; stars only where they were given."""
        row = without_nothing(self.model_dump(mode="json"))
        for column in ("prompt", "chosen", "rejected"):
            row[column] = [message.plain() for message in getattr(self, column)]
        return {name: value for name, value in row.items() if name not in STARS or value is not None}

    def line(self) -> str:
        """As one line of JSON, without its end."""
        return json.dumps(self.plain(), ensure_ascii=False)

    def digest(self) -> str:
        """SHA-256 of the row, whatever the order of its keys."""
        return sha256(canonical(self.plain())).hexdigest()


def without_nothing(row: dict[str, Any]) -> dict[str, Any]:
    """A row's columns; of those that few rows have, only what is there: the others' digests stay."""
    return {name: value for name, value in row.items() if value is not None or name not in RARE}


def canonical(value: object) -> bytes:
    """JSON with sorted keys and no spaces: equal values give equal bytes."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), default=str).encode()


@dataclass(frozen=True)
class BadRow:
    """A row that cannot be used. `line` counts from 1; 0 is the file as a whole."""

    file: str
    line: int
    reason: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.reason}" if self.line else f"{self.file}: {self.reason}"


@dataclass
class Scan(Generic[Shape]):
    """What a file holds. `rows` are (line, row)."""

    rows: list[tuple[int, Shape]] = field(default_factory=list)
    bad: list[BadRow] = field(default_factory=list)

    def whole(self) -> list[Shape]:
        """The rows, if all are good.

        Raises:
            BadRecords: a row is bad; names each.
        """
        if self.bad:
            raise BadRecords(self.bad)
        return [row for _, row in self.rows]


def scan_jsonl(path: Path) -> Scan[PreferenceRow]:
    """Every preference of a file of JSON lines, good and bad.

    Raises:
        OSError: the file cannot be opened or read.
    """
    return scan_shape(path, PreferenceRow)


def scan_shape(path: Path, shape: type[Shape]) -> Scan[Shape]:
    """Every row of some shape of a file of JSON lines, good and bad. OSError as `scan_jsonl`."""
    scan = Scan[Shape]()
    for number, text in decoded_lines(path, scan.bad):
        try:
            scan.rows.append((number, valid(parsed(text), shape)))
        except ValueError as error:
            scan.bad.append(BadRow(str(path), number, str(error)))
    if not scan.rows and not scan.bad:
        scan.bad.append(BadRow(str(path), 0, "has no rows"))
    return scan


def read_jsonl(path: Path) -> list[PreferenceRow]:
    """The rows of a file of JSON lines.

    Raises:
        BadRecords: a row is bad; names each.
    """
    return scan_jsonl(path).whole()


def parse(text: str) -> PreferenceRow:
    """One row from one line.

    Raises:
        ValueError: it is no row; the text says why.
    """
    return row_of(parsed(text))


def parsed(text: str) -> dict[str, Any]:
    """The columns of one line.

    Raises:
        ValueError: it is no object of JSON; the text says why.
    """
    if not text.strip():
        raise ValueError("is empty")
    try:
        value = json.loads(text, object_pairs_hook=_once, parse_constant=_no_constant)
    except json.JSONDecodeError as error:
        raise ValueError(f"is not JSON: {error.msg} at column {error.colno}") from error
    except RecursionError as error:
        raise ValueError("is not JSON that can be read: nested too deeply") from error
    if not isinstance(value, dict):
        raise ValueError("is JSON, but no object with columns")
    return value


def row_of(value: dict[str, Any]) -> PreferenceRow:
    """One row from its columns.

    Raises:
        ValueError: a column is missing, unknown or wrong; the text says which.
    """
    return valid(value, PreferenceRow)


def valid(value: dict[str, Any], shape: type[Shape]) -> Shape:
    """A row of some shape from its columns.

    Raises:
        ValueError: a column is missing, unknown or wrong; the text says which.
    """
    try:
        row = shape.model_validate(value)
        row.model_dump_json().encode()
    except ValidationError as error:
        raise ValueError(_faults(error)) from error
    except (UnicodeEncodeError, PydanticSerializationError) as error:
        raise ValueError("holds half a character (a lone surrogate)") from error
    return row


def decoded_lines(path: Path, bad: list[BadRow]) -> Iterator[tuple[int, str]]:
    """Lines of a file, numbered from 1, without their ends; what is not UTF-8 goes to `bad` instead."""
    with path.open("rb") as file:
        for number, raw in enumerate(file, 1):
            if number == 1:
                if raw.startswith(UTF16):
                    bad.append(BadRow(str(path), 0, "is UTF-16; save it as UTF-8"))
                    return
                raw = raw.removeprefix(codecs.BOM_UTF8)
            try:
                yield number, raw.rstrip(b"\r\n").decode()
            except UnicodeDecodeError as error:
                reason = f"is not UTF-8 at byte {error.start + 1} (0x{raw[error.start]:02x})"
                bad.append(BadRow(str(path), number, reason))


def write_jsonl(path: Path, rows: Iterable[PreferenceRow]) -> None:
    """Write rows as JSON lines: the whole file appears at once, or the old one stays.

    Raises:
        OSError: the file cannot be written, for example because the disk is full.
    """
    write_atomically(path, (row.line().encode() + b"\n" for row in rows))


def write_atomically(path: Path, parts: Iterable[bytes]) -> None:
    """Replace a file by one whose parts are all on the disk.

    Raises:
        OSError: the file cannot be written; the old one is left as it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, partial = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.writelines(parts)
            file.flush()
            os.fsync(file.fileno())
        Path(partial).replace(path)
    except BaseException:
        Path(partial).unlink(missing_ok=True)
        raise


def now() -> datetime:
    """The time of a preference that is given now."""
    return datetime.now(UTC)


def _tools(text: str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError("tools is no JSON") from error


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"has {key!r} twice")
        found[key] = value
    return found


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"is not JSON: {name} is no JSON number")


def _faults(error: ValidationError) -> str:
    named = []
    for fault in error.errors()[:REASONS]:
        where = ".".join(map(str, fault["loc"]))
        kinds = {"missing": f"has no {where}", "extra_forbidden": f"has an unknown column {where}"}
        text = fault["msg"].removeprefix("Value error, ")
        named.append(kinds.get(fault["type"], f"{where}: {text}" if where else text))
    more = error.error_count() - REASONS
    return "; ".join(named) + (f"; and {more} more" if more > 0 else "")
