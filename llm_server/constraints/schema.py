"""JSON Schema (2020-12, the part that tools use) to GBNF.

Written as `json.dumps` writes by default, with one space after `:` and `,`, because that is what chat
templates show the model; every object in the order of its `properties`, optional ones left out at will.
What `Converter` names is enforced. Other words (`pattern`, `multipleOf`, `not` ...; the room's README lists
them) are passed over, also in strict mode: a caller who needs them checks the result.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any

from llm_server.constraints.gbnf import Rules, choice, literal
from llm_server.constraints.integers import integer_range
from llm_server.constraints.references import resolve
from llm_server.errors import UnsupportedSchema

Schema = Mapping[str, Any]
Special = Callable[[Rules, Schema], str | None]
"""Turns a string schema with an extension into a rule for the characters between its quotes; None: not
its case.
"""

CHARACTER = r'[^"\\\x7F\x00-\x1F] | "\\" (["\\/bfnrt] | "u" [0-9a-fA-F] [0-9a-fA-F] [0-9a-fA-F] [0-9a-fA-F])'
INTEGER = '"-"? ("0" | [1-9] [0-9]{0,15})'
NUMBER = INTEGER + ' ("." [0-9]{1,16})? ([eE] [-+]? [0-9]{1,3})?'
_CLOCK = '([01] [0-9] | "2" [0-3]) ":" [0-5] [0-9] ":" [0-5] [0-9] ("." [0-9]{1,6})?'
_DATE = '[0-9]{4} "-" ("0" [1-9] | "1" [0-2]) "-" ("0" [1-9] | "1" [0-9] | "2" [0-8])'
"""Up to the 28th, so that every date exists."""
FORMATS = {
    "date": _DATE,
    "time": f'{_CLOCK} "Z"',
    "date-time": f'{_DATE} "T" {_CLOCK} "Z"',
    "uuid": '[0-9a-f]{8} "-" [0-9a-f]{4} "-" [0-9a-f]{4} "-" [0-9a-f]{4} "-" [0-9a-f]{12}',
}
MAX_DEPTH = 32


class Converter:
    """Adds rules for schemas to a grammar. UnsupportedSchema names what it cannot do."""

    def __init__(self, rules: Rules, special: Special | None = None) -> None:
        self._rules = rules
        self._special = special
        self._references: dict[str, str] = {}

    def expression(self, schema: Schema | bool, root: Schema, hint: str = "value", depth: int = 0) -> str:
        """GBNF expression for any value of `schema`; `root` is where `$ref` points into."""
        if depth > MAX_DEPTH:
            raise UnsupportedSchema("The schema is nested too deeply.", param=hint)
        if schema is True or not schema:
            return self._any()
        if not isinstance(schema, Mapping):
            raise UnsupportedSchema("A schema must be an object.", param=hint)
        if "$ref" in schema:
            return self._reference(str(schema["$ref"]), root, depth)
        if "const" in schema:
            return literal(dumps(schema["const"]))
        if "enum" in schema:
            return choice(*(literal(dumps(value)) for value in schema["enum"]))
        for word in ("anyOf", "oneOf"):
            if word in schema:
                # `x-span` and the like stand beside anyOf where a string may also be null.
                marks = {key: value for key, value in schema.items() if key.startswith("x-")}
                options = [
                    self.expression(_marked(option, marks), root, f"{hint}-{i}", depth + 1)
                    for i, option in enumerate(schema[word])
                ]
                return choice(*options)
        if "allOf" in schema:
            return self.expression(merged(schema, root), root, hint, depth + 1)
        return self._typed(schema, root, hint, depth)

    def _typed(self, schema: Schema, root: Schema, hint: str, depth: int) -> str:
        kind = schema.get("type", "object" if "properties" in schema else None)
        if isinstance(kind, list):
            options = [self._typed({**schema, "type": one}, root, f"{hint}-{one}", depth) for one in kind]
            return choice(*options)
        match kind:
            case "object":
                return self._object(schema, root, hint, depth)
            case "array":
                return self._array(schema, root, hint, depth)
            case "string":
                return self._string(schema)
            case "integer":
                return self._integer(schema)
            case "number":
                return self._rules.add("number", NUMBER)
            case "boolean":
                return '("true" | "false")'
            case "null":
                return '"null"'
            case None:
                return self._any()
        raise UnsupportedSchema(f"The schema has the unknown type {kind!r}.", param=hint)

    def _object(self, schema: Schema, root: Schema, hint: str, depth: int) -> str:
        properties: Schema = schema.get("properties") or {}
        if not properties:
            extra = schema.get("additionalProperties", True)
            closed = extra is False or ("properties" in schema and "additionalProperties" not in schema)
            return '"{}"' if closed else self._map(extra, root, hint, depth)
        required = set(schema.get("required", ()))
        first, more = "", ""
        for name in reversed(list(properties)):
            schema_here = properties[name] if name in required else _without_null(properties[name])
            value = self.expression(schema_here, root, f"{hint}-{name}", depth + 1)
            pair = self._rules.add(f"{hint}-{name}-kv", f"{literal(dumps(name) + ': ')} {value}")
            begin, go_on = f"{pair} {more}".strip(), f'", " {pair} {more}'.strip()
            if name in required:
                first, more = begin, self._rules.add(f"{hint}-{name}-more", go_on)
                continue
            tail = f'(", " {pair})? {more}'.strip()
            first = f"{begin} | {self._group(first, hint, name)}" if first else f"({begin})?"
            more = self._rules.add(f"{hint}-{name}-more", tail)
        return self._rules.add(hint, f'"{{" ({first}) "}}"')

    def _group(self, first: str, hint: str, name: str) -> str:
        return self._rules.add(f"{hint}-after-{name}", first)

    def _map(self, values: Schema | bool, root: Schema, hint: str, depth: int) -> str:
        value = self.expression(True if values is True else values, root, f"{hint}-value", depth + 1)
        pair = f'{self._text()} ": " {value}'
        return self._rules.add(f"{hint}-map", f'"{{" ({pair} (", " {pair})*)? "}}"')

    def _array(self, schema: Schema, root: Schema, hint: str, depth: int) -> str:
        item = self.expression(schema.get("items", True), root, f"{hint}-item", depth + 1)
        low, high = int(schema.get("minItems", 0)), schema.get("maxItems")
        if high is not None and int(high) < 1:
            return '"[]"'
        rest = f"{{{max(0, low - 1)},{'' if high is None else int(high) - 1}}}"
        body = f'{item} (", " {item}){rest}'
        return self._rules.add(f"{hint}-array", f'"[" {body} "]"' if low else f'"[" ({body})? "]"')

    def _string(self, schema: Schema) -> str:
        inside = self._special(self._rules, schema) if self._special else None
        if inside is not None:
            return f'"\\"" {inside} "\\""'
        form = FORMATS.get(str(schema.get("format")))
        if form is not None:
            return self._rules.add(str(schema["format"]), f'"\\"" {form} "\\""')
        low, high = schema.get("minLength"), schema.get("maxLength")
        if low is None and high is None:
            return self._text()
        bounds = f"{{{int(low or 0)},{'' if high is None else int(high)}}}"
        return f'"\\"" {self._character()}{bounds} "\\""'

    def _integer(self, schema: Schema) -> str:
        low, high = schema.get("minimum"), schema.get("maximum")
        low = schema["exclusiveMinimum"] + 1 if "exclusiveMinimum" in schema else low
        high = schema["exclusiveMaximum"] - 1 if "exclusiveMaximum" in schema else high
        if low is None and high is None:
            return self._rules.add("integer", INTEGER)
        body = integer_range(None if low is None else int(low), None if high is None else int(high))
        if not body:
            raise UnsupportedSchema(f"No integer lies between {low} and {high}.")
        return self._rules.add(f"integer-{low}-{high}", body)

    def _character(self) -> str:
        return self._rules.add("char", CHARACTER)

    def _text(self) -> str:
        return self._rules.add("string", f'"\\"" {self._character()}* "\\""')

    def _any(self) -> str:
        """Any JSON value."""
        if "json" not in self._rules:
            self._rules.define("json", '"null"')
            number = self._rules.add("number", NUMBER)
            pair = f'{self._text()} ": " json'
            table = self._rules.add("json-object", f'"{{" ({pair} (", " {pair})*)? "}}"')
            row = self._rules.add("json-array", '"[" (json (", " json)*)? "]"')
            options = (table, row, self._text(), number, '"true"', '"false"', '"null"')
            self._rules.define("json", " | ".join(options))
        return "json"

    def _reference(self, pointer: str, root: Schema, depth: int) -> str:
        if pointer not in self._references:
            name = self._rules.reserve("ref-" + pointer.rsplit("/", 1)[-1])
            self._references[pointer] = name
            self._rules.define(name, self.expression(resolve(pointer, root), root, name, depth + 1))
        return self._references[pointer]


def dumps(value: object) -> str:
    """JSON as chat templates write it."""
    return json.dumps(value, ensure_ascii=False)


def _marked(schema: Schema | bool, marks: Schema) -> Schema | bool:
    return {**marks, **schema} if isinstance(schema, Mapping) else schema


def _without_null(schema: Schema | bool) -> Schema | bool:
    """What an optional property is when it is there: leaving it out says null already."""
    options = schema.get("anyOf") if isinstance(schema, Mapping) else None
    rest = [option for option in options or () if option != {"type": "null"}]
    return {**schema, "anyOf": rest} if isinstance(schema, Mapping) and rest and options else schema


def merged(schema: Schema, root: Schema) -> dict[str, Any]:
    """`allOf` folded into one schema: properties and required are joined, other words are overwritten."""
    out: dict[str, Any] = {k: v for k, v in schema.items() if k != "allOf"}
    for part in schema["allOf"]:
        piece = resolve(str(part["$ref"]), root) if "$ref" in part else part
        piece = merged(piece, root) if "allOf" in piece else piece
        properties = {**out.get("properties", {}), **piece.get("properties", {})}
        required = [*out.get("required", ()), *piece.get("required", ())]
        out = {**piece, **out}
        if properties:
            out["properties"], out["required"] = properties, required
    return out
