"""A regression set of one's own: prompts with what an answer must be or have, which no adapter may unlearn.

JSON lines: `{"name", "prompt": [messages], "tools": [...], "expect": {...}}`. What can be expected: `call`
(`{"name", "arguments"}`: the first call, with at least these arguments; null: none), `contains` and `lacks`
(lists of texts), `matches` (a regular expression), `json_schema` (the text is JSON that fits),
`no_personal_data`.
"""

import json
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import jsonschema
from pydantic import Field, ValidationError, field_validator, model_validator
from referencing import Registry
from referencing.exceptions import Unresolvable

from rlhf.data.pii import redact
from rlhf.errors import BadRecords
from rlhf.pairs import Row
from rlhf.records import BadRow, Message, Strict
from rlhf.serving import Server

MAX_TOKENS = 256
MANY = 2000
"""Lines of a set."""


class Call(Strict):
    """A tool call that is wanted."""

    name: str
    arguments: dict[str, Any] = Field(default_factory=dict)


class Expected(Strict):
    """What an answer must be or have; what is not named is not looked at."""

    call: Call | None = None
    contains: tuple[str, ...] = ()
    lacks: tuple[str, ...] = ()
    matches: str | None = None
    json_schema: dict[str, Any] | None = None
    no_personal_data: bool = False

    @model_validator(mode="after")
    def _something(self) -> "Expected":
        if not self.model_fields_set:
            raise ValueError("nothing is expected; name one of " + ", ".join(type(self).model_fields))
        return self

    @field_validator("matches")
    @classmethod
    def _expression(cls, text: str | None) -> str | None:
        try:
            re.compile(text or "")
        except re.error as error:
            raise ValueError(f"matches {text!r} is no regular expression: {error}") from error
        return text

    @field_validator("json_schema")
    @classmethod
    def _schema(cls, schema: dict[str, Any] | None) -> dict[str, Any] | None:
        try:
            jsonschema.Draft202012Validator.check_schema(schema or {})
        except jsonschema.SchemaError as error:
            raise ValueError(f"json_schema is no JSON Schema: {error.message}") from error
        return schema

    def fault(self, message: dict[str, Any]) -> str | None:
        """What is wrong with an assistant's message, None where nothing is."""
        text = str(message.get("content") or "")
        calls = message.get("tool_calls") or []
        if "call" in self.model_fields_set and (wrong := self._wrong_call(calls)):
            return wrong
        if missing := [one for one in self.contains if one not in text]:
            return f"lacks {missing[0]!r}"
        if there := [one for one in self.lacks if one in text]:
            return f"has {there[0]!r}"
        if self.matches is not None and re.search(self.matches, text) is None:
            return f"does not match {self.matches!r}"
        if self.json_schema is not None and (wrong := _unfit(text, self.json_schema)):
            return wrong
        found: Counter[str] = Counter()
        if self.no_personal_data and (redact(text, found), found)[1]:
            return f"has personal data: {', '.join(sorted(found))}"
        return None

    def _wrong_call(self, calls: list[dict[str, Any]]) -> str | None:
        if self.call is None:
            return f"calls {calls[0]['function']['name']} where no tool is wanted" if calls else None
        if not calls:
            return f"does not call {self.call.name}"
        made = calls[0]["function"]
        if made["name"] != self.call.name:
            return f"calls {made['name']} instead of {self.call.name}"
        given = json.loads(made["arguments"])
        wrong = [name for name, value in self.call.arguments.items() if given.get(name) != value]
        return f"calls {made['name']} with {wrong[0]}={given.get(wrong[0])!r}" if wrong else None


class Line(Strict):
    """One line of a set."""

    name: Annotated[str, Field(min_length=1)]
    prompt: Annotated[list[Message], Field(min_length=1)]
    tools: list[dict[str, Any]] | None = None
    expect: Expected

    def row(self) -> Row:
        """As a server is asked."""
        tools = json.dumps(self.tools) if self.tools else None
        return {"prompt": [message.plain() for message in self.prompt], "tools": tools}


def read_set(path: Path) -> list[Line]:
    """The lines of a set.

    Raises:
        BadRecords: it cannot be read, or a line is no such line, each with its number and the reason.
    """
    lines: list[Line] = []
    bad: list[BadRow] = []
    try:
        texts = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise BadRecords([BadRow(str(path), 0, f"it cannot be read: {error}")]) from error
    for number, text in enumerate(texts, 1):
        try:
            if text.strip():
                lines.append(Line.model_validate_json(text))
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(str(part) for part in first["loc"])
            bad.append(BadRow(str(path), number, f"{place}: {first['msg']}" if place else str(first["msg"])))
    if len(lines) > MANY:
        bad.append(BadRow(str(path), MANY + 1, f"a regression set has at most {MANY} lines"))
    if bad:
        raise BadRecords(bad)
    return lines


def faults(server: Server, model: str, lines: Sequence[Line]) -> dict[str, str | None]:
    """What is wrong with the greedy answer to each line, by its name. DeployError where the server fails."""
    out: dict[str, str | None] = {}
    for line in lines:
        message = server.chat(model, line.row(), temperature=0, max_tokens=MAX_TOKENS)["choices"][0][
            "message"
        ]
        out[line.name] = line.expect.fault(message)
    return out


def _unfit(text: str, schema: dict[str, Any]) -> str | None:
    try:
        # An empty registry: by default a `$ref` to an address would be fetched.
        jsonschema.Draft202012Validator(schema, registry=Registry()).validate(json.loads(text))
    except Unresolvable as error:
        return f"cannot be held to the schema: {error}"
    except ValueError as error:
        return f"is no JSON: {error}"
    except jsonschema.ValidationError as error:
        return f"does not fit the schema: {error.message}"
    return None
