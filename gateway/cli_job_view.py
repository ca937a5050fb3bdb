"""Jobs and datasets on a terminal: tables, a log that is followed, a bar."""

import json
import time
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from gateway.cli_client import GatewayClient, Item
from gateway.cli_errors import CommandError

PATIENCE = 60.0
"""Seconds without an answer of the gateway, such as while it is started again."""
STYLES = {"done": "green", "failed": "red", "cancelled": "yellow", "running": "cyan", "queued": "dim"}
LEVELS = {"error": "red", "warning": "yellow"}


def follow_job(client: GatewayClient, job: str, console: Console | None = None) -> str:
    """Print a job's lines and a bar until it ends; gives its state. Comes back by itself where the gateway
    is started again; Ctrl-C leaves the job alone.

    Raises:
        CommandError: there is no such job, or no answer for a minute.
    """
    console = console or Console()
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    seen, heard = 0, time.monotonic()
    with Progress(*columns, console=console, transient=True) as progress:
        bar = progress.add_task("queued", total=1.0)
        try:
            while True:
                try:
                    for name, event in client.events(f"/api/v1/jobs/{job}/events", seen):
                        heard = time.monotonic()
                        if name == "line":
                            seen = int(event["seq"])
                            print_line(event, progress.console)
                        elif name == "job":
                            progress.update(bar, **_bar(event))
                        elif name == "end":
                            _say_end(job, event, progress.console)
                            return str(event["state"])
                except CommandError:
                    if time.monotonic() - heard > PATIENCE or not seen:
                        raise
                time.sleep(0.5)
        except KeyboardInterrupt:
            console.print(f"The job goes on: `loopyard jobs logs {job} -f`, `loopyard jobs cancel {job}`")
            raise


def _bar(job: Item) -> dict[str, Any]:
    far = job["progress"] or {}
    left = f", {far['left_s']:.0f} s left" if far.get("left_s") is not None else ""
    text = f"{job['state']} {far.get('text') or ''}{left}".strip()
    return {"completed": far.get("done") or 0.0, "description": escape(text)}


def _say_end(job: str, event: Item, console: Console) -> None:
    state = str(event["state"])
    why = f": {event['error']}" if event["error"] else ""
    console.print(Text(f"{job} is {state}{why}", style=STYLES[state]), soft_wrap=True)


def print_line(line: Item, console: Console | None = None) -> None:
    """One line of a log."""
    step = f"{line['step']}: " if line["step"] else ""
    text = Text(f"{step}{line['text']}", style=LEVELS.get(line["level"], ""))
    (console or Console()).print(text, soft_wrap=True)


def print_jobs(items: Sequence[Item]) -> None:
    """A table."""
    table = Table("id", "kind", "title", "state", "progress", "asked for")
    for job in items:
        done = f"{(job['progress'] or {}).get('done', 0):.0%}" if job["state"] == "running" else ""
        asked = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(job["created_at"]))
        state = Text(job["state"], style=STYLES[job["state"]])
        table.add_row(job["id"], job["kind"], Text(job["title"]), state, done, asked)
    Console().print(table if items else "There are no jobs.")


def print_job(job: Item) -> None:
    """State, steps and result."""
    console = Console()
    console.print(Text(f"{job['id']}  {job['title'] or job['kind']}  "), Text(job["state"]), sep="")
    if job["error"]:
        console.print(Text(job["error"], style="red"), soft_wrap=True)
    if job["steps"]:
        table = Table("step", "kind", "state", "seconds", "what is wrong")
        for step in job["steps"]:
            state = "waits for approval" if step["waits_for_approval"] else step["state"] or ""
            state += ", reused" if step["reused"] else ""
            seconds = "" if step["seconds"] is None else f"{step['seconds']:.1f}"
            table.add_row(step["name"], step["kind"], state, seconds, Text(step["error"]))
        console.print(table)
    if job["result"] is not None:
        console.print_json(json.dumps(job["result"]))


def waiting_step(job: Item) -> str:
    """The one step that waits for a person. CommandError where none does, or several."""
    waiting = [step["name"] for step in job["steps"] if step["waits_for_approval"]]
    if len(waiting) == 1:
        return str(waiting[0])
    if waiting:
        raise CommandError(f"{', '.join(waiting)} wait for approval", "name one of them")
    raise CommandError(f"No step of {job['id']} waits for approval", f"it is {job['state']}")


def print_datasets(items: Sequence[Item]) -> None:
    """A table."""
    table = Table("name", "shape", "rows", "format", "state", "id")
    for item in items:
        rows = "" if item["rows"] is None else str(item["rows"])
        table.add_row(Text(item["name"]), item["shape"], rows, item["format"], item["state"], item["id"])
    Console().print(table if items else "The project has no datasets; `loopyard datasets add` uploads one.")


def print_dataset(item: Item) -> None:
    """Columns, or the manifest of a dataset that was built, and lineage."""
    console = Console()
    console.print(Text(f"{item['name']}: {item['rows']} rows, {item['shape']}, {item['state']}"))
    if item["error"]:
        console.print(Text(item["error"], style="red"), soft_wrap=True)
    columns = item["facts"].get("columns", [])
    if columns:
        table = Table("column", "type", "missing", "distinct", "characters", "longest", "tokens")
        for column in columns:
            text = column["text"] or {}
            counts = [str(text.get(name, "")) for name in ("characters", "longest", "tokens")]
            plain = [Text(column["name"]), column["type"], str(column["missing"]), str(column["distinct"])]
            table.add_row(*plain, *counts)
        console.print(table)
    print_suggestion(item)
    for what in ("parents", "children"):
        if item[what]:
            console.print(Text(f"{what}: {', '.join(one['name'] for one in item[what])}"))


def print_suggestion(item: Item) -> None:
    """Which of a file's columns look like those of rows, where they are called otherwise."""
    if likely := item["facts"].get("suggested"):
        options = " ".join(f"--map {target}={source}" for target, source in likely["columns"].items())
        Console().print(Text(f"likely, as {likely['kind']}: {options}"), soft_wrap=True)


def print_findings(found: Item) -> None:
    """What is wrong with a file of rows."""
    console = Console()
    if found["job_id"]:
        console.print(f"It is long: job {found['job_id']} checks it.")
        return
    table = Table("", "what", "how often", "where")
    for one in found["findings"]:
        level = Text(one["level"], style=LEVELS[one["level"]])
        table.add_row(level, one["rule"], str(one["count"]), Text("\n".join(one["examples"])))
    if found["findings"]:
        console.print(table)
    console.print(f"rows: {found['rows']}, errors: {found['errors']}, warnings: {found['warnings']}")


def print_json(value: object) -> None:
    """For programs."""
    print(json.dumps(value, ensure_ascii=False, indent=2))
