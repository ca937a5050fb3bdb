"""`loopyard ingest`: files or folders into a project, with progress."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Table
from rich.text import Text

from gateway.cli_client import GatewayClient, Item
from gateway.cli_errors import CommandError

SUFFIXES = {".md", ".markdown", ".txt", ".pdf", ".docx", ".csv"}
FINISHED = {"ready", "failed"}
STALLED = 15.0  # seconds without any change after which documents without embeddings are left to the server
STUCK = 300.0  # seconds without any change after which all others are
PATIENCE = 30.0  # seconds without an answer of the gateway


@dataclass
class Report:
    """What became of the files.

    Attributes:
        unchanged: files whose content the project already had.
        failed: name -> reason.
        waiting: searchable by their words; vectors follow when embeddings are available.
    """

    added: list[str] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    waiting: list[str] = field(default_factory=list)
    skipped: int = 0
    seconds: float = 0.0


@dataclass(frozen=True)
class Candidate:
    """A file, and the name under which the project will know it."""

    path: Path
    name: str


def find_files(path: Path) -> tuple[list[Candidate], int]:
    """The files to send, and how many others lie in the folder.

    Raises:
        CommandError: there is nothing to send.
    """
    if path.is_file():
        return [Candidate(path, path.name)], 0
    if not path.is_dir():
        raise CommandError(f"{path} does not exist", "give a file or a folder")
    files = [p for p in sorted(path.rglob("*")) if p.is_file() and not _hidden(p.relative_to(path))]
    found = [Candidate(p, p.relative_to(path).as_posix()) for p in files if p.suffix.lower() in SUFFIXES]
    if not found:
        kinds = ", ".join(sorted(SUFFIXES))
        raise CommandError(f"{path} holds none of the kinds that can be read", f"these are {kinds}")
    return found, len(files) - len(found)


def ingest(client: GatewayClient, project: str, path: Path, console: Console) -> Report:
    """Send everything below a path and wait until it is searchable."""
    started = time.monotonic()
    candidates, skipped = find_files(path)
    if client.ensure_project(project):
        console.print(f"Made the project [bold]{project}[/].")
    report = Report(skipped=skipped)
    with _progress(console) as progress:
        bar = progress.add_task("Sending", total=len(candidates))
        pending = _send(client, project, candidates, report, progress)
        for done, now in _wait(client, project, pending, report):
            progress.update(bar, completed=len(candidates) - len(pending) + done, description=now)
    report.seconds = time.monotonic() - started
    return report


def print_report(report: Report, project: str, console: Console) -> None:
    """Counts, then a table of what failed and why."""
    parts = [f"{len(report.added)} added", f"{len(report.unchanged)} unchanged"]
    if report.waiting:
        parts.append(f"{len(report.waiting)} searchable by words only until embeddings are available")
    if report.skipped:
        parts.append(f"{report.skipped} of other kinds skipped")
    parts.append(f"{len(report.failed)} failed")
    console.print(f"[bold]{project}[/]: {', '.join(parts)} in {report.seconds:.1f} s")
    if report.failed:
        table = Table("document", "what is wrong", title="Failed", title_justify="left")
        for name, reason in report.failed.items():
            table.add_row(Text(name), Text(reason))
        console.print(table)


def _progress(console: Console) -> Progress:
    columns = [SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()]
    return Progress(*columns, TimeElapsedColumn(), console=console, transient=True)


def _send(
    client: GatewayClient, project: str, candidates: Sequence[Candidate], report: Report, progress: Progress
) -> dict[str, str]:
    """Upload; gives id -> name of the documents that the server still works on."""
    pending: dict[str, str] = {}
    for candidate in candidates:
        progress.update(progress.task_ids[0], description=f"Sending {candidate.name}")
        try:
            item, known = client.upload(project, candidate.path, candidate.name)
        except CommandError as error:
            _require_gateway(client, error)
            report.failed[candidate.name] = str(error)
        except OSError as error:
            report.failed[candidate.name] = f"cannot be read: {error.strerror}"
        else:
            if known and item["state"] == "ready":
                report.unchanged.append(candidate.name)
            else:
                pending[item["id"]] = candidate.name
        progress.update(progress.task_ids[0], completed=len(report.unchanged) + len(report.failed))
    return pending


def _require_gateway(client: GatewayClient, error: CommandError) -> None:
    """One file that is refused is that file's failure; a gateway that has gone ends everything."""
    try:
        client.request("GET", "/api/v1/me")
    except CommandError:
        raise error from None


def _wait(
    client: GatewayClient, project: str, pending: dict[str, str], report: Report
) -> Iterator[tuple[int, str]]:
    """Follow documents until all are finished; yields (how many are, what happens now)."""
    changed, before = time.monotonic(), ""
    while pending:
        states = {d["id"]: d for d in _patiently(client, project) if d["id"] in pending}
        open_ = [d for d in states.values() if d["state"] not in FINISHED]
        yield len(states) - len(open_), _current(open_)
        seen = repr([(d["id"], d["state"], d.get("progress")) for d in open_])
        if seen != before:
            changed, before = time.monotonic(), seen
        limit = STALLED if all(d["state"] == "awaiting-embeddings" for d in open_) else STUCK
        stalled = time.monotonic() - changed > limit
        if not open_ or stalled:
            _settle(pending, states, report)
            return
        time.sleep(0.3)


def _patiently(client: GatewayClient, project: str) -> list[Item]:
    """The documents, also when the gateway is being started again meanwhile: the work goes on without us.

    Raises:
        CommandError: there has been no answer for half a minute.
    """
    begun = time.monotonic()
    while True:
        try:
            return client.documents(project)
        except CommandError:
            if time.monotonic() - begun > PATIENCE:
                raise
            time.sleep(1)


def _current(documents: Sequence[Item]) -> str:
    busy = [d for d in documents if d["state"] in ("parsing", "embedding")]
    return f"{str(busy[0]['state']).capitalize()} {busy[0]['name']}" if busy else "Waiting"


def _settle(pending: dict[str, str], states: dict[str, Item], report: Report) -> None:
    for document_id, name in pending.items():
        document = states.get(document_id)
        if document is None:
            report.failed[name] = "was deleted meanwhile"
        elif document["state"] == "failed":
            report.failed[name] = str(document["error"] or "unknown reason")
        elif document["state"] == "ready":
            report.added.append(name)
        elif document["state"] == "awaiting-embeddings":
            report.waiting.append(name)
        else:
            report.failed[name] = f"still {document['state']} after {STUCK / 60:.0f} minutes without progress"


def _hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)
