"""One file of a hub: what had arrived before is kept, the rest is asked for, the whole is checked.

huggingface_hub itself resumes within one call only and deletes what it has when that fails.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, cast

from llm_server.errors import PreparationFailed

PART = 1 << 20
STEPS = 20


@dataclass(frozen=True, slots=True)
class HubFile:
    """As the hub lists it."""

    name: str
    url: str
    size: int
    sha256: str | None
    """Of large files; the others have a git object id."""
    git_id: str | None


class Report:
    """Says how far all files together are, at every twentieth: a line in a log, or what a terminal shows."""

    def __init__(self, what: str, total: int, tell: Callable[[str], None]) -> None:
        self._what, self._total, self._tell = what, max(total, 1), tell
        self._done, self._told = 0, -1

    def add(self, count: int) -> None:
        """More bytes are there."""
        self._done += count
        step = self._done * STEPS // self._total
        if step > self._told:
            self._told = step
            share = self._done / self._total
            self._tell(f"Downloading {self._what}: {share:.0%} of {self._total / 1e6:,.1f} MB")


def fetch(file: HubFile, folder: Path, headers: dict[str, str], report: Report) -> Path:
    """The file in `folder`, whole and as the hub has it. PreparationFailed where what arrived is something
    else; errors of huggingface_hub where it cannot be had, and the next call goes on from there.
    """
    from huggingface_hub.file_download import http_get

    target = folder / file.name
    if target.is_file():
        report.add(file.size)
        return target
    part = target.with_name(f".{target.name}.part")
    part.parent.mkdir(parents=True, exist_ok=True)
    if part.is_file() and part.stat().st_size > file.size:
        part.unlink()
    with part.open("ab") as out:
        there = out.tell()
        report.add(there)

        bar = cast(Any, lambda **options: _Bar(report))
        http_get(file.url, out, resume_size=there, headers=headers, expected_size=file.size, tqdm_class=bar)
    _check(part, file)
    part.replace(target)
    return target


def _check(part: Path, file: HubFile) -> None:
    if file.sha256:
        wanted, digest = file.sha256, hashlib.sha256()
    else:
        # Git's object id: a SHA-1 over a header and the content (Git Internals, "Git Objects").
        wanted, digest = file.git_id or "", hashlib.sha1(b"blob %d\0" % file.size, usedforsecurity=False)
    with part.open("rb") as content:
        while data := content.read(PART):
            digest.update(data)
    if wanted and digest.hexdigest() != wanted:
        part.unlink()
        raise PreparationFailed(f"{file.name} arrived damaged and was deleted. Start again.")


class _Bar:
    """What http_get takes for a progress bar."""

    def __init__(self, report: Report) -> None:
        self._report = report

    def __enter__(self) -> "_Bar":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing is held."""

    def update(self, count: int) -> None:
        """Bytes more, or fewer where the hub begins anew."""
        self._report.add(count)
