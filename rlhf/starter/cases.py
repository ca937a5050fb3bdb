"""What the starter is examined on, never trained on: each case is a prompt and what is expected."""

import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from rlhf.starter import dialogues, questions
from rlhf.starter.conversations import Sources
from rlhf.starter.mixture import maker
from rlhf.starter.own_tools import BY_NAME, MAKERS, SERVED, TOOLS, Asking, offered
from rlhf.starter.passages import LEADS, PassageMaker
from rlhf.starter.persona import PERSONA, with_schema
from rlhf.starter.routing import ROUTES
from rlhf.starter.rows import invented, populate
from rlhf.starter.sample import calls, system, tool, user
from rlhf.starter.schemas import MEASURES, Column, Schema, grow
from rlhf.starter.sql_drawing import Skip
from rlhf.starter.sql_generator import SqlGenerator
from rlhf.starter.talk import no_tool
from rlhf.starter.template import Message, Tool
from rlhf.starter.words import Words

Rows = dict[str, tuple[list[str], list[list[Any]]]]
"""Table name to (columns, rows)."""


@dataclass(frozen=True)
class Case:
    """A prompt with one of: an expected call, no call (`call` None), an answer, or rows to run SQL on."""

    kind: str
    messages: list[Message]
    tools: list[Tool] = field(default_factory=list)
    call: tuple[str, dict[str, Any]] | None = None
    answer: str | None = None
    rows: Rows | None = None
    schema: dict[str, Any] | None = None
    """`x-sql` of the prompt's schema, for a server that knows it."""
    extra: dict[str, Any] = field(default_factory=dict)
    """Further request fields, such as a response format."""


def own(rng: random.Random, words: Words, held_phrases: bool, count: int) -> Iterator[Case]:
    """Requests with held-out words; held-out or trained phrasings."""
    ask = Asking(rng, words.other_half(), held_phrases)
    kind = "own tools, held-out phrasings and entities" if held_phrases else "own tools, held-out entities"
    for i in range(count):
        name = list(MAKERS)[i % len(MAKERS)]
        for _ in range(50):
            text, call = MAKERS[name](ask)
            if '"' not in text:
                break
        tools = offered(rng, (name,))
        yield Case(kind, [system(PERSONA), user(text)], tools, call)


def quiet(rng: random.Random, words: Words, count: int) -> Iterator[Case]:
    """Talk that needs no tool."""
    for i in range(count):
        text, _ = no_tool(rng, words.other_half())
        tools = [BY_NAME[n] for n in SERVED] if i % 2 else offered(rng, ())
        if tools:
            yield Case("no tool needed", [system(PERSONA), user(text)], tools)


def handwritten(path: Path) -> Iterator[Case]:
    """The project's own sentences (`handwritten.yaml`); offered all tools, as the product will."""
    for item in yaml.safe_load(path.read_text(encoding="utf-8")):
        head, lines = PERSONA, (item.get("schema") or "").strip().splitlines()
        if lines and lines[0].startswith("Database "):
            head = f"{head}\n\n" + "\n".join(lines)
            lines = lines[1:]
        elif lines:
            head = with_schema(head, "main", "sqlite", lines)
        expected = (item["tool"], item.get("arguments") or {}) if item["tool"] else None
        schema = {**x_sql(lines), "values": {}} if lines else None
        messages = [system(head), user(item["text"])]
        yield Case("hand-written sentences", messages, list(TOOLS), expected, schema=schema)


def services(rng: random.Random, words: Words, held: Sources, count: int) -> Iterator[Case]:
    """Calls of held-out services, with the listing as it is."""
    cutter = dialogues.DialogueMaker(rng, held.tools, words)
    records = [r for r in held.dialogues if all(s in dialogues.HELD_OUT for s in r["services"])]
    while count:
        sample = cutter.sample(rng.choice(records), plain=True)
        if not sample:
            continue
        count -= 1
        function = sample.messages[-1]["tool_calls"][0]["function"]
        expected = (function["name"], function["arguments"])
        yield Case("dialogues, held-out services", sample.messages[:-1], sample.tools, expected)


def x_sql(lines: Sequence[str]) -> dict[str, Any]:
    """The schema of a compact listing, as the `x-sql` extension wants it: what no prompt says is left out."""
    tables: dict[str, list[str]] = {}
    keys = []
    for line in lines:
        name, inner = line.rstrip(")").split("(", 1)
        tables[name] = []
        for part in inner.split(", "):
            column, _, target = part.partition(" > ")
            tables[name].append(column)
            if target:
                keys.append([f"{name}.{column}", target])
    return {"tables": tables, "foreign_keys": keys}


def looked_up(text: str, rows: Rows) -> dict[str, list[str]]:
    """The cells that a question names, by `table.column`, as the tool sql_values finds them."""
    found: dict[str, list[str]] = {}
    for name, (columns, body) in rows.items():
        for at, column in enumerate(columns):
            cells = {row[at] for row in body if isinstance(row[at], str) and len(row[at]) > 1}
            named = sorted(
                cell for cell in cells if re.search(rf"(?<!\w){re.escape(cell)}(?!\w)", text, re.I)
            )
            if named:
                found[f"{name}.{column}"] = named[:5]
    return found


def kinds(schema: Schema) -> dict[str, str]:
    """What the columns hold, by `table.column`, as the gateway knows it from their types."""
    return {f"{t.name}.{c.name}": _kind(c) for t in schema.tables for c in t.columns}


def _kind(column: Column) -> str:
    if column.means == "id" or column.target:
        return "key"
    return "number" if column.means in MEASURES else "date" if column.means == "date" else "text"


def one_table(rng: random.Random, words: Words, held: Sources, count: int) -> Iterator[Case]:
    """People's questions about held-out tables; right is what gives the same rows."""
    while count:
        made = questions.table_samples(rng, words, [rng.choice(held.questions)], held.questions, plain=True)
        if not made:
            continue
        count -= 1
        [(text, sql, name)], lines, columns = made
        rows: Rows = {name: (columns, invented(rng, columns, sql))}
        head = system(with_schema(PERSONA, "main", "sqlite", lines))
        tools = [BY_NAME[n] for n in SERVED]
        yield Case(
            "SQL, held-out tables",
            [head, user(text)],
            tools,
            ("sql_query", {"sql": sql}),
            rows=rows,
            schema=x_sql(lines) | {"values": looked_up(text, rows)},
        )


def several_tables(rng: random.Random, words: Words, count: int) -> Iterator[Case]:
    """Generated questions in held-out wordings over new databases."""
    while count:
        filled = populate(rng, words.other_half(), grow(rng, words, rng.choice((2, 3, 4, 5, 8, 11))))
        try:
            text, sql = SqlGenerator(rng, words, filled, held_phrases=True).draw()
        except Skip:
            continue
        count -= 1
        lines = filled.schema.lines()
        rows: Rows = {
            t.name: ([c.name for c in t.columns], filled.rows[t.name]) for t in filled.schema.tables
        }
        head = system(with_schema(PERSONA, filled.schema.name, "sqlite", lines))
        tools = [BY_NAME[n] for n in SERVED]
        yield Case(
            "SQL, several tables, held-out wording",
            [head, user(text)],
            tools,
            ("sql_query", {"sql": sql}),
            rows=rows,
            schema=x_sql(lines) | {"kinds": kinds(filled.schema), "values": looked_up(text, rows)},
        )


def five_passages(rng: random.Random, words: Words, held: Sources, count: int) -> Iterator[Case]:
    """Which of five passages answers, among facts, questions on tables and what was said in dialogues?"""
    return retrieval(maker(rng, words.other_half(), held).passages, count)


def retrieval(passages: PassageMaker, count: int) -> Iterator[Case]:
    """Five results of a search each, one of which answers; the right rank is drawn evenly."""
    tools = [BY_NAME[n] for n in SERVED]
    for _ in range(count):
        found = passages.found(5, 550, flat=True)
        call = calls(("rag_search", {"query": found.question.rstrip("?").rstrip()}))
        messages = [system(PERSONA), user(found.question), call, tool(found.text)]
        yield Case(
            "five passages",
            messages,
            tools,
            answer=f'{LEADS[0]}"{found.sentence}" [{found.number}]',
            extra={"grounding": "quotes"},
        )


def routes(rng: random.Random, words: Words, held: Sources, count: int) -> Iterator[Case]:
    router = maker(rng, words.other_half(), held).routes
    router.held_phrases = True
    schema = {
        "type": "object",
        "properties": {"route": {"enum": list(ROUTES)}},
        "required": ["route"],
        "additionalProperties": False,
    }
    shape = {"response_format": {"type": "json_schema", "json_schema": {"name": "route", "schema": schema}}}
    for _ in range(count):
        sample = router.sample()
        yield Case("routes", sample.messages[:-1], answer=sample.messages[-1]["content"], extra=shape)


def all_cases(words: Words, held: Sources, written: Path, count: int, seed: int = 77) -> list[Case]:
    """`count` cases of each kind, always the same ones."""
    rng = random.Random(seed)
    out = [*own(rng, words, False, count), *own(rng, words, True, count), *quiet(rng, words, count)]
    out += services(rng, words, held, count)
    out += one_table(rng, words, held, count)
    out += several_tables(rng, words, count)
    out += five_passages(rng, words, held, count)
    out += routes(rng, words, held, count)
    if written.exists():
        out += handwritten(written)
    return out
