"""The trial's findings as Markdown: a summary, and a table for each part with every miss."""

from __future__ import annotations

import datetime
import os
import platform
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from tests.trial.database import AGENTS, DatabaseResult, GivenResult, database_table, given_table
from tests.trial.documents import TOP, DocumentResult, document_table, mean_of
from tests.trial.suite import Suite
from tests.trial.tables import table


@dataclass
class Findings:
    """All that a trial found."""

    suite: Suite
    pages: int = 0
    new_pages: int = 0
    ingest_seconds: float = 0.0
    documents: list[DocumentResult] = field(default_factory=list)
    given: list[GivenResult] = field(default_factory=list)
    database: list[DatabaseResult] = field(default_factory=list)

    def failures(self) -> list[str]:
        """Where the chain itself failed, as opposed to a wrong answer."""
        turns = [(r.question.id, r.turn) for r in self.documents]
        turns += [(r.question.id, r.turn) for r in self.database]
        failed = [f"{name}: {turn.error}" for name, turn in turns if turn.error]
        return failed + [f"{r.question.id}: {r.note}" for r in self.given if r.note]


def summary(findings: Findings) -> str:
    """The figures, one row each."""
    rows = [*_document_rows(findings), *_database_rows(findings)]
    today = datetime.datetime.now(tz=datetime.UTC).date()
    where = f"{today}, {os.cpu_count()} cores, {platform.system()} {platform.machine()}"
    return f"{table(['trial', 'figure'], rows)}\nMeasured by `make trial`: {where}.\n"


def sections(findings: Findings) -> dict[str, str]:
    """File name and content of each table."""
    suite = findings.suite
    files = {
        "summary.md": "# Trial\n\n" + summary(findings),
        "documents.md": f"# {suite.documents_title}\n\n" + document_table(findings.documents),
        "given-sql.md": f"# {suite.database_title}: SQL given by hand\n\n" + given_table(findings.given),
    }
    for agent in AGENTS:
        own = [r for r in findings.database if r.agent == agent]
        files[f"database-{agent}.md"] = f"# {suite.database_title}: {agent}\n\n" + database_table(own)
    return files


def readme_section(findings: Findings) -> str:
    """What stands in the README: the summary, then the misses of each part."""
    suite = findings.suite
    parts = [summary(findings)]
    parts.append(f"### {suite.documents_title}: every question\n\n{document_table(findings.documents)}")
    for agent in AGENTS:
        own = [r for r in findings.database if r.agent == agent]
        parts.append(f"### {suite.database_title}: every question to `{agent}`\n\n{database_table(own)}")
    return "\n".join(parts)


def count(flags: Iterable[bool]) -> str:
    """`k of n`."""
    values = list(flags)
    return f"{sum(values)} of {len(values)}"


def _document_rows(findings: Findings) -> Sequence[Sequence[object]]:
    title, results = findings.suite.documents_title, findings.documents
    took = f"{findings.new_pages} pages in {findings.ingest_seconds:.0f} s"
    return [
        (f"{title}: taken in", took if findings.new_pages else f"{findings.pages} pages were there already"),
        (f"{title}: right page in the first {TOP} hits", count(r.in_top for r in results)),
        (f"{title}: mean reciprocal rank", mean_of([r.rank for r in results])),
        (f"{title}: answer cites a page that holds the quoted words", count(r.founded for r in results)),
        (f"{title}: a cited page is a right one", count(r.right_page for r in results)),
        (f"{title}: answer has the very piece that was expected", count(r.evidence for r in results)),
    ]


def _database_rows(findings: Findings) -> Sequence[Sequence[object]]:
    title = findings.suite.database_title
    rows: list[tuple[str, str]] = [
        (f"{title}: right figures, SQL given by hand", count(r.right for r in findings.given))
    ]
    for agent in AGENTS:
        own = [r for r in findings.database if r.agent == agent]
        rows.append((f"{title}: right figures, SQL by `{agent}`", count(r.right for r in own)))
        rows.append((f"{title}: figures also said in words, `{agent}`", count(r.said for r in own)))
    return rows
