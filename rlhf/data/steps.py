"""What is done to rows, as one declared list: map, clean, template, chunk, limit before they are checked and
split; negatives, synthesise, augment on the sides of the split.

A step of the first sort takes the columns of a row and gives those of rows, so a list of them in any order is
one function. Each counts what it did; the counts and the list itself are part of the manifest.
"""

import itertools
import re
import sys
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from string import Formatter
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field, ValidationError, model_validator

from rlhf.data.augment import Augment
from rlhf.data.chunks import pieces
from rlhf.data.columns import Map
from rlhf.data.negatives import Negatives
from rlhf.data.step import LINEAGE, Columns, RowStep, SideStep, Step
from rlhf.data.synthesise import Synthesise
from rlhf.data.texts import in_json, in_value
from rlhf.data.tokens import Tokens
from rlhf.errors import DatasetError
from rlhf.records import canonical

ANSWERS = ("chosen", "rejected", "completion", "output")
ALONE = ("query", "anchor", "positive", "negative")
"""Texts that are read one by one."""
# C0 but tab and line feed, DEL, C1; byte-order mark and zero-width space. Joiners stay: words need them.
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b\ufeff]")
_SPACES = re.compile("[\u00a0\u1680\u2000-\u200a\u202f\u205f\u3000]")
_LINES = re.compile(r"[ \t]+(?=\n|$)")
_GAPS = re.compile(r"\n{3,}")


class Clean(RowStep):
    """Texts in one form: what looks the same is the same."""

    NAME = "clean"
    unicode: Literal["NFC", "NFKC"] | None = "NFC"
    """Form of Unicode (UAX #15)."""
    control: bool = True
    """Remove control characters, byte-order marks and zero-width spaces."""
    whitespace: bool = True
    """One kind of space and line end, none at the end of lines, at most one empty line."""

    def apply(self, row: Columns, tokens: Tokens, counts: Counter[str]) -> Iterator[Columns]:
        """The row, cleaned."""
        made = {
            name: value
            if name in LINEAGE
            else in_json(value, self.text)
            if name == "tools" and isinstance(value, str)
            else in_value(value, self.text)
            for name, value in row.items()
        }
        counts["changed"] += made != row
        yield made

    def text(self, text: str) -> str:
        """A text, cleaned."""
        if self.whitespace:
            text = _SPACES.sub(" ", text.replace("\r\n", "\n").replace("\r", "\n"))
        if self.control:
            text = _CONTROL.sub("", text)
        if self.unicode:
            text = unicodedata.normalize(self.unicode, text)
        return _GAPS.sub("\n\n", _LINES.sub("", text)).strip() if self.whitespace else text


class Template(RowStep):
    """Columns written from those of the file: `{question}` stands for the column `question`."""

    NAME = "template"
    columns: dict[str, str] = Field(min_length=1)
    system: str = ""
    """Message of the system before every prompt."""
    keep: list[str] = Field(default_factory=list)
    """Columns of the file that stay, beside those that say where a row comes from."""

    @model_validator(mode="after")
    def _can_be_read(self) -> "Template":
        for name, text in [*self.columns.items(), ("system", self.system)]:
            fields = [field for _, field, _, _ in Formatter().parse(text) if field is not None]
            if odd := [field for field in fields if not re.fullmatch(r"\w+", field)]:
                raise ValueError(f"{name} names {{{odd[0]}}}, which is no column; write {{{{ for a brace")
        return self

    def apply(self, row: Columns, tokens: Tokens, counts: Counter[str]) -> Iterator[Columns]:
        """The row in the columns of its kind."""
        texts = {name: value for name, value in row.items() if isinstance(value, str | int | float)}
        made = {name: row[name] for name in (*LINEAGE, *self.keep) if name in row}
        made |= {name: _filled(name, text, texts) for name, text in self.columns.items()}
        if self.system:
            prompt = made.get("prompt")
            asked = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt or []
            made["prompt"] = [{"role": "system", "content": _filled("system", self.system, texts)}, *asked]
        counts["written"] += 1
        yield made


class Chunk(RowStep):
    """A long text becomes rows of at most so many tokens each, which overlap."""

    NAME = "chunk"
    KINDS = ("sft", "triplet")
    column: str
    tokens: int = Field(ge=16)
    overlap: int = Field(default=0, ge=0)

    @model_validator(mode="after")
    def _goes_on(self) -> "Chunk":
        if self.overlap * 2 > self.tokens:
            raise ValueError(f"overlap {self.overlap} is more than half of tokens {self.tokens}")
        return self

    def apply(self, row: Columns, tokens: Tokens, counts: Counter[str]) -> Iterator[Columns]:
        """The row once for each piece. All are of one session: what overlaps is never on both sides."""
        text = row.get(self.column)
        if not isinstance(text, str):
            raise ValueError(f"has no text in {self.column}, which is to be cut into chunks")
        found = pieces(text, self.tokens, self.overlap, tokens)
        if len(found) < 2:
            yield row
            return
        counts["cut"] += 1
        counts["chunks"] += len(found)
        session = row.get("session") or f"document-{sha256(canonical(text)).hexdigest()[:16]}"
        for number, piece in enumerate(found, 1):
            named = {"row_id": f"{row['row_id']}-{number}"} if row.get("row_id") else {}
            yield {**row, self.column: piece, "session": session, **named}


class Limit(RowStep):
    """Rows with too many tokens, or too few, are left out."""

    NAME = "limit"
    tokens: int = Field(ge=1)
    minimum: int = Field(default=1, ge=0)

    def apply(self, row: Columns, tokens: Tokens, counts: Counter[str]) -> Iterator[Columns]:
        """The row, or nothing."""
        size = _size(row, tokens)
        if size > self.tokens:
            counts["too long"] += 1
        elif size < self.minimum:
            counts["too short"] += 1
        else:
            yield row


STEPS: dict[str, type[Step]] = {
    step.NAME: step for step in (Map, Clean, Template, Chunk, Limit, Negatives, Synthesise, Augment)
}
Declared = Annotated[list[dict[str, dict[str, Any] | None]], Field(max_length=20)]
"""A list of steps as it is written: `[{"clean": {}}, {"limit": {"tokens": 512}}]`."""


def steps_of(declared: Sequence[Any]) -> tuple[Step, ...]:
    """Steps as they were declared. DatasetError where one is unknown or wrong."""
    found = []
    for at, one in enumerate(declared, 1):
        if isinstance(one, str):
            one = {one: None}
        if not isinstance(one, dict) or len(one) != 1:
            raise DatasetError(f"step {at} is {one!r}; write a name and settings: `limit: {{tokens: 512}}`")
        name, settings = next(iter(one.items()))
        if name not in STEPS:
            raise DatasetError(f"step {at} is `{name}`, which is none; there are: {', '.join(STEPS)}")
        try:
            found.append(STEPS[name].model_validate(settings or {}))
        except ValidationError as error:
            raise DatasetError(f"step {at}, {name}: {_faults(error)}") from error
    return tuple(found)


def read_steps(path: Path) -> tuple[Step, ...]:
    """Steps from a YAML file that is a list of them; `-` is the standard input. DatasetError."""
    try:
        text = sys.stdin.read() if path == Path("-") else path.read_text(encoding="utf-8")
        content = yaml.safe_load(text)
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise DatasetError(f"{path} cannot be read: {error}") from error
    if not isinstance(content, list):
        raise DatasetError(f"{path} is no list of steps, such as `- clean:` and `- limit: {{tokens: 512}}`")
    return steps_of(content)


def refuse_unfit(steps: Sequence[Step], kind: str) -> None:
    """Raises DatasetError where a step makes no sense for a kind of rows."""
    for step in steps:
        if kind not in step.KINDS:
            fits = " and ".join(step.KINDS)
            raise DatasetError(f"the step {step.NAME} is for {fits} rows only, not for {kind}")
    for before, after in itertools.pairwise(steps):
        if isinstance(before, SideStep) and isinstance(after, RowStep):
            raise DatasetError(
                f"the step {after.NAME} comes after {before.NAME}, which is done once rows are split: "
                "move it before"
            )


@dataclass
class Preparation:
    """Steps that are done to rows one by one, at work, and what each did."""

    declared: Sequence[Step]
    tokens: Tokens
    steps: list[RowStep] = field(init=False)
    counts: list[Counter[str]] = field(init=False)

    def __post_init__(self) -> None:
        self.steps = [step for step in self.declared if isinstance(step, RowStep)]
        self.counts = [Counter() for _ in self.steps]

    def __call__(self, row: Columns) -> list[Columns]:
        """The rows that one becomes. ValueError as the step that fails."""
        rows = [row]
        for step, counts in zip(self.steps, self.counts, strict=True):
            counts["rows"] += len(rows)
            rows = [made for one in rows for made in step.apply(one, self.tokens, counts)]
        return rows

    def report(self) -> list[dict[str, Any]]:
        """For the manifest: each step, rows that came to it, and what it did."""
        return [{"step": step.NAME, **counts} for step, counts in zip(self.steps, self.counts, strict=True)]


def described() -> list[dict[str, Any]]:
    """Every step that there is: `name`, `about`, `kinds` and the JSON schema of its `settings`."""
    return [
        {
            "name": name,
            "about": (step.__doc__ or "").strip(),
            "kinds": list(step.KINDS),
            "settings": step.model_json_schema()["properties"],
        }
        for name, step in STEPS.items()
    ]


def declared(steps: Sequence[Step]) -> list[dict[str, Any]]:
    """Steps as they are written, every setting named."""
    return [{step.NAME: step.model_dump(mode="json")} for step in steps]


def _filled(name: str, template: str, texts: Columns) -> str:
    try:
        return template.format_map(texts)
    except KeyError as error:
        known = ", ".join(sorted(texts)) or "none"
        raise ValueError(f"has no {error.args[0]}, which {name} is made of; it has: {known}") from error


def _size(row: Columns, tokens: Tokens) -> int:
    """Tokens of the longest that is read at once: all that is asked with the longest answer."""
    sizes = {
        name: sum(map(tokens.count, texts)) for name, value in row.items() if (texts := _texts(name, value))
    }
    asked = sum(size for name, size in sizes.items() if name not in (*ANSWERS, *ALONE))
    answer = max((size for name, size in sizes.items() if name in ANSWERS), default=0)
    return max(asked + answer, *(size for name, size in sizes.items() if name in ALONE), 0)


def _texts(name: str, value: Any) -> list[str]:
    found: list[str] = []
    if name in LINEAGE or name == "label":
        return found

    def seen(text: str) -> str:
        found.append(text)
        return text

    if isinstance(value, list):
        for message in value:
            kept = {key: part for key, part in message.items() if key in ("content", "tool_calls")}
            in_value(kept, seen)
    else:
        in_value(value, seen)
    return found


def _faults(error: ValidationError) -> str:
    return "; ".join(
        f"{'.'.join(map(str, one['loc']))} {one['msg'].removeprefix('Value error, ')}".strip()
        for one in error.errors()
    )
