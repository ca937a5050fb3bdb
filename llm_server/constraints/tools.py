"""The grammar of a tool call: one of the declared names with arguments that fit its schema."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from llm_server.constraints.example import example
from llm_server.constraints.gbnf import Rules, choice, literal
from llm_server.constraints.schema import CHARACTER, Converter, Schema, Special, dumps
from llm_server.constraints.spans import span_rule
from llm_server.constraints.sql import Stage, sql_rule, stage_of
from llm_server.constraints.sql_schema import SqlSchema
from llm_server.engine.grammar import Grammar

Function = Mapping[str, Any]
SHORT = 80
"""Characters of a string where strings are not free: a small model may never find its end."""
_BOUNDED = frozenset({"format", "minLength", "maxLength"})
_HEAD = re.compile(r'\s*\{"name": "([^"]+)", "arguments": \{')
_UNESCAPED_QUOTE = re.compile(r'(?<!\\)(?:\\\\)*"')


@dataclass(frozen=True, slots=True)
class Words:
    """What copied strings are taken from."""

    user_texts: tuple[str, ...] = ()
    """The user's messages, oldest first."""
    free_literals: bool = True
    """Whether strings in SQL may be other than spans of them, and strings of no stated length long."""


class CallGrammar:
    """Grammar of what stands between `<tool_call>` and its end, the newlines around it included."""

    def __init__(self, functions: Sequence[Function], words: Words) -> None:
        self._functions = functions
        self._words = words
        self._statements = {
            function["name"]: found
            for function in functions
            if (found := _statement_of(function)) is not None
        }
        self.whole = self._grammar(functions, "")

    def refine(self, written: str, stage: Stage) -> tuple[Grammar, Stage] | None:
        """A narrower grammar of the same call once its statement is further than `stage`, else None."""
        head = _HEAD.match(written)
        name, schema = self._statements.get(head.group(1), (None, None)) if head else (None, None)
        at = written.find(f'{dumps(name)}: "') if name else -1
        if head is None or name is None or schema is None or at < 0:
            return None
        statement = written[at + len(dumps(name)) + 3 :]
        if _UNESCAPED_QUOTE.search(statement):
            return None
        reached = stage_of(schema, statement)
        if reached == stage:
            return None
        called = [function for function in self._functions if function["name"] == head.group(1)]
        return self._grammar(called, statement), reached

    def _grammar(self, functions: Sequence[Function], statement: str) -> Grammar:
        rules = Rules()
        converter = Converter(rules, extensions(self._words, statement))
        options = []
        for number, function in enumerate(functions):
            schema = parameters(function)
            body = converter.expression(schema, schema, f"call-{number}")
            head = f'{{"name": {dumps(function["name"])}, "arguments": '
            options.append(f'{literal(head)} {body} "}}"')
        return Grammar(rules.text(f'"\\n" {choice(*options)} "\\n"'), _example(functions[0]))


def parameters(function: Function) -> Schema:
    """The schema of a function's arguments; a function without one has none."""
    given = function.get("parameters") or {}
    return {"type": "object", "properties": {}} if not given else {"type": "object", **given}


def schema_grammar(schema: Schema) -> Grammar:
    """Grammar of one JSON value of `schema`."""
    rules = Rules()
    root = Converter(rules, extensions(Words())).expression(schema, schema, "answer")
    return Grammar(rules.text(root), example=dumps(example(schema)))


def extensions(words: Words, statement: str = "") -> Special:
    """`x-span` and `x-sql` on string properties; `statement` is what is written of the SQL."""
    spans: list[str | None] = []

    def special(rules: Rules, schema: Schema) -> str | None:
        if "x-sql" in schema:
            return sql_rule(rules, schema["x-sql"], words.user_texts, statement, words.free_literals)
        if schema.get("x-span") is True:
            if not spans:
                spans.append(span_rule(rules, words.user_texts))
            return spans[0]
        if not words.free_literals and not _BOUNDED & schema.keys():
            return rules.add("short", f"{rules.add('char', CHARACTER)}{{0,{SHORT}}}")
        return None

    return special


def _statement_of(function: Function) -> tuple[str, SqlSchema] | None:
    """The first property that is a statement over a schema."""
    for name, schema in (parameters(function).get("properties") or {}).items():
        found = SqlSchema.of(schema.get("x-sql")) if isinstance(schema, Mapping) else None
        if found is not None:
            return str(name), found
    return None


def _example(function: Function) -> str:
    call = {"name": function["name"], "arguments": example(parameters(function))}
    return f"\n{json.dumps(call, ensure_ascii=False)}\n"
