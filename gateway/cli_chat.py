"""`loopyard chat`: a question, the steps as they happen, the answer with its sources."""

import json
from collections.abc import Iterator
from typing import Any

from rich.console import Console
from rich.syntax import Syntax
from rich.table import Table
from rich.text import Text

from gateway.cli_client import Item
from gateway.cli_errors import CommandError

Events = Iterator[tuple[str, Item]]


class Collected:
    """Everything that one answer consists of, in the shape that `--json` prints."""

    def __init__(self, agent: str, project: str) -> None:
        self.answer = ""
        self._facts: Item = {"agent": agent, "project": project, "conversation_id": None, "route": None}
        self._calls: dict[str, Item] = {}
        self._sources: list[Item] = []
        self._done: Item = {}

    def take(self, name: str, data: Item) -> None:
        """Add one event.

        Raises:
            CommandError: the event is an error.
        """
        if name == "start":
            self._facts.update(conversation_id=data["conversation_id"], agent=data["agent"])
        elif name == "route":
            self._facts["route"] = data["route"]
        elif name == "tool_call":
            self._calls[data["id"]] = {"name": data["name"], "arguments": data["arguments"]}
        elif name == "tool_result":
            result = {"text": data["text"], "structured": data["structured"]}
            call = self._calls.setdefault(data["id"], {"name": data["name"], "arguments": {}})
            call.update(ok=data["ok"], result=result, ms=data["ms"])
        elif name == "token":
            self.answer += data["text"]
        elif name == "sources":
            self._sources = data["items"]
        elif name == "done":
            self._done, self.answer = data, data["answer"]
        elif name == "error":
            again = "ask again" if data.get("retryable") else ""
            raise CommandError(f"The answer ended with an error: {data['message']}", again)

    def arguments(self, call_id: str) -> Item:
        """What a tool was called with."""
        found: Item = self._calls.get(call_id, {}).get("arguments", {})
        return found

    def require_done(self) -> None:
        """Check that the answer came to its end.

        Raises:
            CommandError: the stream ended before.
        """
        if not self._done:
            raise CommandError("The answer broke off", "ask again; `loopyard status` tells what runs")

    def object(self) -> Item:
        """The object of `--json`."""
        return {
            "answer": self.answer,
            **self._facts,
            "tool_calls": list(self._calls.values()),
            "sources": self._sources,
            "usage": self._done.get("usage", {}),
            "timings": self._done.get("timings", {}),
        }


def collect(events: Events, agent: str, project: str) -> Item:
    """Wait for the whole answer; gives the object of `--json`."""
    collected = Collected(agent, project)
    for name, data in events:
        collected.take(name, data)
    collected.require_done()
    return collected.object()


def show(events: Events, agent: str, project: str, console: Console) -> None:
    """Print steps, text and sources as they come."""
    collected = Collected(agent, project)
    for name, data in events:
        collected.take(name, data)
        if name == "route":
            console.print(f"[dim]looking in: {data['route']}[/]")
        elif name == "tool_call":
            console.print(Text.assemble(("→ ", "cyan"), (data["name"], "bold cyan"), f"({_short(data)})"))
        elif name == "tool_result":
            _show_result(data, console)
        elif name == "notice":
            console.print(Text(data["message"], style="yellow"))
        elif name == "token":
            console.print(Text(data["text"]), end="", soft_wrap=True)
    console.print()
    collected.require_done()
    _show_end(collected.object(), console)


def _show_result(data: Item, console: Console) -> None:
    if not data["ok"]:
        console.print(Text(f"  ✗ {data['text']}", style="red"))
        return
    structured = data["structured"] or {}
    if "columns" in structured and "rows" in structured:
        console.print(Syntax(structured["sql"], "sql", background_color="default", word_wrap=True))
        console.print(rows_table(structured))
    else:
        hits = structured.get("hits")
        found = f"{len(hits)} passages" if hits is not None else f"{len(data['text'].splitlines())} lines"
        console.print(f"[dim]  {found} in {data['ms']:.0f} ms[/]")


def rows_table(result: Item, limit: int = 20) -> Table:
    """A result of an SQL query, its first rows."""
    rows = result["rows"]
    count = result.get("row_count", len(rows))
    caption = f"{min(limit, len(rows))} of {count} rows" if count > limit else None
    table = Table(caption=caption)
    for name in result["columns"]:
        table.add_column(Text(str(name)))
    for row in rows[:limit]:
        table.add_row(*(_cell(value) for value in row))
    return table


def _cell(value: Any) -> Text:
    if value is None:
        return Text("NULL", style="dim")
    return Text(str(value), justify="right" if isinstance(value, int | float) else "left")


def _show_end(answer: Item, console: Console) -> None:
    for source in answer["sources"]:
        place = source.get("section") or (f"page {source['page']}" if source.get("page") else "")
        mark = "" if source.get("verified", True) else "  (quote not found in the passage)"
        line = f"[{source['n']}] {source['document']}{' > ' if place else ''}{place}{mark}"
        console.print(Text(line, style="green" if not mark else "yellow"))
        console.print(Text(f"    “{source['quote']}”", style="dim"))
    timings = answer["timings"]
    if timings:
        console.print(f"[dim]{answer['agent']} · {timings['total_ms'] / 1000:.1f} s[/]")


def _short(data: Item) -> str:
    parts = (f"{k}={json.dumps(v, ensure_ascii=False)}" for k, v in data["arguments"].items())
    return ", ".join(parts)
