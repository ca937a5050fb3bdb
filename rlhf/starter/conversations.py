"""Whole samples: a request, its call, the result and the answer, alone or after other turns."""

import json
import random
import re
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass

from rlhf.starter import dialogues, questions
from rlhf.starter.copying import CopyMaker
from rlhf.starter.made_up import MadeUpMaker
from rlhf.starter.own_tools import BY_NAME, MAKERS, SERVED, Asking, Call, offered
from rlhf.starter.passages import NO_MATCH, NOTHING, Found, PassageMaker
from rlhf.starter.persona import OTHERS, persona, with_schema
from rlhf.starter.phrases import expand, slipped
from rlhf.starter.reading import ReadingMaker
from rlhf.starter.routing import RouteMaker, joined
from rlhf.starter.rows import Filled, invented, one_result, populate
from rlhf.starter.sample import Sample, calls, says, silent, system, tool, user
from rlhf.starter.schemas import grow
from rlhf.starter.sql_drawing import Skip
from rlhf.starter.sql_generator import SqlGenerator
from rlhf.starter.tables import report, table_text
from rlhf.starter.talk import no_tool
from rlhf.starter.template import Message, Tool
from rlhf.starter.wording import wording
from rlhf.starter.words import Words, any_word, identifier

AMID = wording("requests")
SQL_TOOLS = ("sql_query", "sql_describe")
NAMING = (
    "sql_describe",
    "data_validate",
    "training_start",
    "jobs_status",
    "jobs_cancel",
    "export_model",
    "adapters_load",
)
"""Tools that take the name of something, so that no other words are part of the request."""


@dataclass
class Sources:
    """What the recipe reads from a path, the trained part of it."""

    dialogues: list[dialogues.Record]
    tools: dict[str, list[Tool]]
    questions: list[questions.Record]


class ConversationMaker:
    """One maker a kind of sample; `mixture` says how often each is drawn."""

    def __init__(
        self, rng: random.Random, words: Words, sources: Sources, passages: PassageMaker, short: bool = False
    ) -> None:
        self.rng, self.words, self.sources, self.passages, self.short = rng, words, sources, passages, short
        """`short`: small prompts, where copying is learnt several times as fast for the same tokens."""
        self.ask = Asking(rng, words)
        self.dialogue_maker = dialogues.DialogueMaker(rng, sources.tools, words, 3 if short else 11)
        self.made_up = MadeUpMaker(rng, words, short)
        self.routes = RouteMaker(rng, words)
        self.readings = ReadingMaker(rng, passages)
        self.tables = questions.by_table(sources.questions)

    # pieces

    def filled(self, tables: int) -> tuple[Filled, SqlGenerator]:
        filled = populate(self.rng, self.words, grow(self.rng, self.words, tables))
        return filled, SqlGenerator(self.rng, self.words, filled)

    def offered(self, wanted: Sequence[str]) -> list[Tool]:
        """A listing with the wanted tools; two or three in a short prompt."""
        tools = offered(self.rng, wanted)
        if not self.short:
            return tools
        others = [t for t in tools if t["function"]["name"] not in wanted][: self.rng.randint(0, 2)]
        mine = [BY_NAME[name] for name in wanted] + others
        self.rng.shuffle(mine)
        return mine

    def tables_count(self) -> int:
        if self.short:
            return self.rng.choice((1, 1, 2, 2, 3))
        return self.rng.choices((1, 2, 3, 4, 5, 7, 10, 12), (10, 16, 18, 16, 13, 11, 9, 7))[0]

    def head(self, tools: Sequence[Tool], lines: Sequence[str] = (), name: str = "main") -> Message:
        """The system message: a schema where an SQL tool is offered."""
        text = OTHERS[-1] if self.short and self.rng.random() < 0.6 else persona(self.rng)
        if not any(t["function"]["name"] in SQL_TOOLS for t in tools) or (
            not lines and self.rng.random() < (0.9 if self.short else 0.45)
        ):
            return system(text)
        if not lines:
            filled, _ = self.filled(self.rng.choice((1, 1, 2, 2, 3, 5)))
            lines, name = filled.schema.lines(), filled.schema.name
        return system(with_schema(text, name, self.rng.choice(("sqlite", "sqlite", "postgresql")), lines))

    def database_tools(self) -> list[Tool]:
        roll = self.rng.random()
        if roll < 0.25 and not self.short:
            return [BY_NAME[n] for n in SERVED]
        if roll < 0.65:
            return [BY_NAME[n] for n in SQL_TOOLS]
        return self.offered(("sql_query",))

    # own tools

    def request(self, name: str) -> tuple[str, Call]:
        """A request for a tool, now and then amid words that are no part of it."""
        text, call = MAKERS[name](self.ask)
        roll = self.rng.random() if name in NAMING else 1
        if roll < 0.08:
            return f"{expand(self.rng, self.rng.choice(AMID['before']))} {text}", call
        if roll < 0.2 and text[-1] not in "?.!":
            return text + self.rng.choice(
                ("", ",", ".")
            ) + f" {expand(self.rng, self.rng.choice(AMID['after']))}", call
        return text, call

    def own(self) -> Sample:
        """A request for one of the product's tools; now and then for two things at once."""
        name = self.rng.choices(list(MAKERS), [5 if n == "rag_search" else 1 for n in MAKERS])[0]
        text, call = self.request(name)
        tools = self.offered((name,))
        return Sample("own", [self.head(tools), user(text), calls(call)], tools)

    def parallel(self) -> Sample:
        name = self.rng.choice(("data_validate", "jobs_status", "jobs_cancel", "rag_search"))
        text, call = MAKERS[name](self.ask)
        key = next(iter(call[1]))
        first = str(call[1][key])
        second = identifier(self.rng, self.words) if name != "rag_search" else any_word(self.rng, self.words)
        if text.count(first) != 1 or (name == "rag_search" and len(first.split()) > 3):
            return self.own()
        text = text.replace(first, f"{first} and {second}")
        tools = self.offered((name,))
        if name == "rag_search":
            return Sample(
                "own",
                [self.head(tools), user(text), calls((name, {**call[1], key: f"{first} and {second}"}))],
                tools,
            )
        return Sample("own", [self.head(tools), user(text), calls(call, (name, {key: second}))], tools)

    def talk(self) -> Sample:
        """No tool is needed."""
        tools = self.offered(()) if self.rng.random() < 0.9 else []
        text, answer = no_tool(self.rng, self.words)
        return Sample("talk", [self.head(tools), user(text), says(answer)], tools)

    def several(self) -> Sample:
        """Two to nine exchanges with short results in between: more choices to learn from for one listing."""
        names = self.rng.sample(list(MAKERS), self.rng.choice((2, 3, 4, 5, 7, len(MAKERS))))
        tools = self.offered(names)
        messages = [self.head(tools)]
        for _ in range(self.rng.choice((2, 3, 5, 7, 9))):
            if self.rng.random() < 0.35:
                text, answer = no_tool(self.rng, self.words)
                messages += [user(text), says(answer)]
                continue
            text, call = self.request(self.rng.choice(names))
            result, answer = self.short_result(call[0], call[1])
            messages += [user(text), calls(call), tool(result), says(answer)]
        return Sample("own", messages, tools)

    def short_result(self, name: str, arguments: dict[str, object]) -> tuple[str, str]:
        """A result of a few lines and the answer that reports it."""
        if name == "rag_search":
            found = self.passages.found(1, self.rng.randint(60, 160))
            if self.rng.random() < 0.4:
                return NO_MATCH, self.rng.choice(NOTHING)
            lead = found.text.split("\n", 1)
            return "\n".join(lead), f'The documents say: "{found.sentence}" [1]'
        if name == "rag_documents":
            titles = [self.passages.title() for _ in range(self.rng.randint(1, 6))]
            text = "\n".join(f"{t} ({self.rng.randint(1, 90)} pages)" for t in titles)
            many = "There is 1 document" if len(titles) == 1 else f"There are {len(titles)} documents"
            return (
                text,
                f"{many}: {', '.join(titles)}.",
            )
        if name == "sql_describe":
            filled, _ = self.filled(self.rng.randint(1, 3))
            tables = filled.schema.tables[:1] if arguments else filled.schema.tables
            text = "\n".join(filled.schema.lines()[: len(tables)])
            if arguments:
                return (
                    text,
                    f"{tables[0].name} has the columns {', '.join(c.name for c in tables[0].columns)}.",
                )
            return text, f"The tables are {', '.join(t.name for t in tables)}."
        about = next((str(v) for v in arguments.values()), "it")
        state = self.rng.choice(
            ("running", "finished", "queued", "failed", "cancelled", "ready", "done", "loaded", "valid")
        )
        unit = self.rng.choice(("percent", "rows", "steps", "epochs", "files"))
        line = f"{about}: {state}, {self.rng.randint(1, 100)} {unit}"
        return line, f"{line}."

    def copy(self) -> Sample:
        return CopyMaker(self.rng, self.words).sample()

    # services, tables, routes

    def dialogue(self) -> Sample:
        while True:
            sample = self.dialogue_maker.sample(self.rng.choice(self.sources.dialogues))
            if sample:
                return sample

    def service(self) -> Sample:
        return self.made_up.sample()

    def question(self) -> Sample:
        """People's questions about one table: up to four, each but the last with its result."""
        rng = self.rng
        made = questions.table_samples(
            rng, self.words, rng.choice(self.tables), self.sources.questions, rng.choice((1, 2, 3, 4))
        )
        if not made:
            return self.question()
        asked, lines, columns = made
        tools = self.database_tools()
        messages = [self.head(tools, lines)]
        for at, (text, sql, name) in enumerate(asked):
            try:
                names, rows = one_result(name, columns, invented(rng, columns, sql), sql)
            except sqlite3.OperationalError:  # a column named like a keyword
                return self.question()
            messages += [user(text), calls(("sql_query", {"sql": sql}))]
            if at < len(asked) - 1:
                messages += [tool(table_text(names, rows)), says(report(rng, text, sql, names, rows))]
        return Sample("question", messages, tools)

    def database(self) -> Sample:
        """Generated SQL, mostly with results and the sentences that report them: up to four questions."""
        filled, generator = self.filled(self.tables_count())
        tools = self.database_tools()
        messages = [self.head(tools, filled.schema.lines(), filled.schema.name)]
        for _ in range(self.rng.choice((1, 1, 2, 3, 4))):
            try:
                text, sql = generator.draw()
            except Skip:
                break
            messages += [user(text), calls(("sql_query", {"sql": sql}))]
            if self.rng.random() < 0.25:
                break
            result, answer = self.result(filled, text, sql)
            messages += [tool(result), says(answer)]
        return Sample("database", messages, tools) if len(messages) > 1 else self.database()

    def result(self, filled: Filled, text: str, sql: str) -> tuple[str, str]:
        cursor = filled.connection.execute(sql)
        columns, rows = [c[0] for c in cursor.description], cursor.fetchall()
        return table_text(columns, rows), report(self.rng, text, sql, columns, rows)

    def correction(self) -> Sample:
        """A statement with a wrong column (context only), the error, and the right statement."""
        filled, generator = self.filled(self.rng.choice((1, 2, 3)))
        try:
            text, sql = generator.draw()
        except Skip:
            return self.correction()
        table = self.rng.choice(filled.schema.tables)
        names = [c.name for c in table.columns if re.search(rf"\b{c.name}\b", sql)]
        if not names:
            return self.database()
        name = self.rng.choice(names)
        wrong = slipped(self.rng, name) if self.rng.random() < 0.5 else any_word(self.rng, self.words)
        known = ", ".join(c.name for c in table.columns)
        error = f"no such column: {table.name}.{wrong}. Columns of {table.name}: {known}"
        tools = self.database_tools()
        head = self.head(tools, filled.schema.lines(), filled.schema.name)
        bad = silent(calls(("sql_query", {"sql": re.sub(rf"\b{name}\b", wrong, sql)})))
        return Sample(
            "database", [head, user(text), bad, tool(error), calls(("sql_query", {"sql": sql}))], tools
        )

    def route(self) -> Sample:
        return self.routes.sample()

    # passages

    def found(self) -> Found:
        if self.short:
            return self.passages.found(self.rng.choice((1, 1, 2)), self.rng.randint(40, 100))
        count = self.rng.choices((1, 2, 3, 4, 5), (12, 18, 18, 10, 42))[0]
        size = self.rng.randint(450, 750) if self.rng.random() < 0.2 else self.rng.randint(50, 220)
        return self.passages.found(count, size, answered=self.rng.random() < 0.9)

    def reading(self) -> Sample:
        return self.readings.sample(self.short)

    def passage(self) -> Sample:
        """Search, results and the quoting answer."""
        found = self.found()
        roll = self.rng.random()
        names = ("rag_search", "rag_documents") if roll < 0.35 or self.short else SERVED
        tools = [BY_NAME[n] for n in names] if roll < 0.75 else self.offered(("rag_search",))
        call = calls(("rag_search", {"query": found.question.rstrip("?").rstrip()}))
        messages = [
            self.head(tools),
            user(found.question),
            call,
            tool(found.text),
            says(found.answer(self.rng)),
        ]
        return Sample("passage", messages, tools)

    def both(self) -> Sample:
        """Figures and rules in one answer."""
        filled, generator = self.filled(self.rng.choice((1, 2, 3)))
        try:
            figures, sql = generator.draw()
        except Skip:
            return self.both()
        found = self.passages.found(self.rng.choice((1, 2, 3, 5)), self.rng.randint(60, 200))
        text = joined(self.rng, figures, found.question)
        result, answer = self.result(filled, figures, sql)
        tools = [BY_NAME[n] for n in SERVED]
        pairs = [
            (("rag_search", {"query": text.rstrip("?").rstrip()}), found.text),
            (("sql_query", {"sql": sql}), result),
        ]
        if self.rng.random() < 0.4:
            pairs.reverse()
        messages = [
            self.head(tools, filled.schema.lines(), filled.schema.name),
            user(text),
            calls(*(c for c, _ in pairs)),
        ]
        messages += [tool(text) for _, text in pairs]
        quoted = found.answer(self.rng) if found.sentence else NOTHING[0]
        return Sample("both", [*messages, says(f"The database says: {answer} {quoted}")], tools)

    def long(self) -> Sample:
        """A conversation near the context: a large schema, earlier turns, five long passages."""
        filled, generator = self.filled(self.rng.choice((8, 10, 12, 14)))
        tools = [BY_NAME[n] for n in SERVED]
        messages = [self.head(tools, filled.schema.lines(), filled.schema.name)]
        for _ in range(self.rng.choice((0, 1, 1, 2))):
            try:
                text, sql = generator.draw()
            except Skip:
                continue
            result, answer = self.result(filled, text, sql)
            messages += [user(text), calls(("sql_query", {"sql": sql})), tool(result), says(answer)]
        found = self.passages.found(5, self.rng.randint(450, 750), answered=self.rng.random() < 0.9)
        call = calls(("rag_search", {"query": found.question.rstrip("?").rstrip()}))
        messages += [user(found.question), call, tool(found.text), says(found.answer(self.rng))]
        return Sample("long", messages, tools)


def as_text(sample: Sample) -> str:
    """For reading: the sample as JSON."""
    return json.dumps(
        {"kind": sample.kind, "tools": len(sample.tools), "messages": sample.messages},
        ensure_ascii=False,
        indent=1,
    )
