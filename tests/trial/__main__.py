"""`python -m tests.trial --data DIR --out trial-out [--data-folder DATA | --up]`: evaluation on real input.

Exit code 0 whatever the answers were worth; 1 where the chain itself failed; 2 where DIR is not the data.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.markdown import Markdown
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from tests.trial.client import ChainError, Gateway
from tests.trial.database import AGENTS, DatabaseResult, ask_database, run_given
from tests.trial.documents import DocumentResult, ask_documents, search_table
from tests.trial.questions import document_questions
from tests.trial.report import Findings, readme_section, sections, summary
from tests.trial.stack import Stack, own_stack
from tests.trial.suite import Suite, demo, given
from tests.trial.tables import replace_section

README = Path(__file__).parents[2] / "README.md"
READY_SECONDS = 600


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the trial and writes its tables."""
    options = parse(argv)
    # Without this, SIGTERM would end Python at once and leave an own loopyard running.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    console = Console()
    options.out.mkdir(parents=True, exist_ok=True)
    try:
        suite = given(options.data) if options.data else demo(options.out)
    except FileNotFoundError as error:
        console.print(f"[red]Nothing to try:[/] {error}", soft_wrap=True)
        return 2
    try:
        with stack_for(options, console) as stack, Gateway(stack.url, stack.key) as gateway:
            if options.search:
                take_in(stack, gateway, Findings(suite), console)
                print(search_table(gateway, suite, document_questions(options.search)))
                return 0
            findings = run(stack, gateway, suite, console)
    except ChainError as error:
        console.print(f"[red]The chain failed:[/] {error}", soft_wrap=True)
        return 1
    write(findings, options.out)
    if options.write_readme:
        text = replace_section(README.read_text(encoding="utf-8"), readme_section(findings))
        README.write_text(text, encoding="utf-8")
    console.print(Markdown(summary(findings)))
    for failure in findings.failures():
        console.print(f"[red]chain failed[/] {failure}", soft_wrap=True)
    console.print(f"Every question with its answer: {options.out}/*.md")
    return 1 if findings.failures() else 0


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.trial", description=__doc__)
    parser.add_argument("--data", type=Path, help="folder with handbook/ and chinook/; without it the demo")
    parser.add_argument("--out", type=Path, default=Path("trial-out"), help="folder for the tables")
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--data-folder", type=Path, default=Path(os.environ.get("LOOPYARD_DATA", "data")))
    where.add_argument("--up", action="store_true", help="start an own loopyard on free ports for the trial")
    parser.add_argument("--search", metavar="NAME", help="only the ranks for questions/NAME.yaml, no answers")
    parser.add_argument("--write-readme", action="store_true", help="put the tables into README.md")
    return parser.parse_args(argv)


@contextmanager
def stack_for(options: argparse.Namespace, console: Console) -> Iterator[Stack]:
    """The stack to talk to; one of its own leaves nothing behind but its log."""
    if not options.up:
        yield Stack(options.data_folder)
        return
    with tempfile.TemporaryDirectory(prefix="loopyard-trial-") as folder:
        console.print(f"starting loopyard (log: {options.out / 'loopyard.log'})")
        with own_stack(Path(folder), options.out / "loopyard.log") as stack:
            yield stack


def run(stack: Stack, gateway: Gateway, suite: Suite, console: Console) -> Findings:
    """Takes the input in, then asks every question."""
    findings = Findings(suite)
    take_in(stack, gateway, findings, console)
    add_database(stack, gateway, suite)
    findings.given = run_given(gateway, suite)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("documents", total=len(suite.document_questions))

        def document_done(result: DocumentResult) -> None:
            progress.update(task, advance=1, description=f"documents: {result.question.id}")

        findings.documents = ask_documents(gateway, suite, document_done)
        rows = progress.add_task("database", total=len(AGENTS) * len(suite.database_questions))

        def database_done(result: DatabaseResult) -> None:
            progress.update(rows, advance=1, description=f"database: {result.question.id} ({result.agent})")

        findings.database = ask_database(gateway, suite, database_done)
    return findings


def take_in(stack: Stack, gateway: Gateway, findings: Findings, console: Console) -> None:
    """Ingests the documents with the command line tool and times it until the last one is ready."""
    suite = findings.suite
    gateway.make_project(suite.documents_project)
    listing = f"projects/{suite.documents_project}/documents"
    before = len(gateway.items(listing))
    started = time.monotonic()
    with console.status(f"taking in {suite.documents}"):
        stack.cli("ingest", str(suite.documents), "--project", suite.documents_project)
        documents = wait_ready(gateway, listing)
    findings.ingest_seconds = time.monotonic() - started
    findings.pages, findings.new_pages = len(documents), len(documents) - before


def wait_ready(gateway: Gateway, listing: str) -> list[dict[str, object]]:
    """Until every document is ready; ChainError names those that failed."""
    end = time.monotonic() + READY_SECONDS
    while time.monotonic() < end:
        documents = gateway.items(listing)
        failed = [f"{d['name']}: {d['error']}" for d in documents if d["state"] == "failed"]
        if failed:
            raise ChainError("; ".join(failed))
        if all(document["state"] == "ready" for document in documents):
            return documents
        time.sleep(0.5)
    raise ChainError(f"documents were not ready after {READY_SECONDS} s")


def add_database(stack: Stack, gateway: Gateway, suite: Suite) -> None:
    """Adds the database to its project unless it is there."""
    gateway.make_project(suite.database_project)
    known = {item["name"] for item in gateway.items(f"projects/{suite.database_project}/databases")}
    if suite.database_name not in known:
        url = f"sqlite:///{suite.database}"
        stack.cli("databases", "add", suite.database_name, url, "--project", suite.database_project)


def write(findings: Findings, out: Path) -> None:
    """The tables as Markdown, and everything as JSON for a closer look."""
    for name, text in sections(findings).items():
        (out / name).write_text(text, encoding="utf-8")
    results = {
        "documents": [
            {"id": r.question.id, "found": r.found, "unfounded": r.unfounded, "turn": asdict(r.turn)}
            for r in findings.documents
        ],
        "database": [
            {"id": r.question.id, "agent": r.agent, "sql": r.sql, "right": r.right, "turn": asdict(r.turn)}
            for r in findings.database
        ],
    }
    text = json.dumps(results, ensure_ascii=False, indent=1)
    (out / "results.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
