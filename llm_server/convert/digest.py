"""SHA-256 of weight files, all of their bytes: two models that differ in one of them are not the same.

Gigabytes take seconds, and every start asks, so does the program that makes adapters. What was found for a
large file is remembered in the cache folder, until its size, inode or one of its times is another.
"""

import hashlib
import json
import os
import time
from pathlib import Path

from llm_server.convert.converter import cache_folder
from llm_server.convert.files import publish
from llm_server.errors import PreparationFailed

LARGE = 64 << 20
"""Bytes from which on remembering pays."""
SETTLED_SECONDS = 2.0
"""A file that was written a moment ago may be written again within one tick of its file system's clock."""


def weights_sha256(path: Path, large: int = LARGE) -> str:
    """In hex; files of `large` bytes and more are remembered."""
    before = path.stat()
    note = _note(path) if before.st_size >= large else None
    known = _read(note) if note is not None else None
    if known is not None and known[0] == _stamp(before):
        return known[1]
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    settled = time.time() - max(before.st_mtime, before.st_ctime) > SETTLED_SECONDS
    if note is not None and settled and _stamp(path.stat()) == _stamp(before):
        _write(note, json.dumps({"file": str(path), "stamp": _stamp(before), "sha256": digest}))
    return digest


def _stamp(found: os.stat_result) -> list[int]:
    return [found.st_size, found.st_dev, found.st_ino, found.st_mtime_ns, found.st_ctime_ns]


def _note(path: Path) -> Path:
    """One for each path, however often the file is replaced."""
    name = hashlib.blake2b(os.fsencode(path.resolve()), digest_size=16).hexdigest()
    return cache_folder() / "digests" / f"{name}.json"


def _read(note: Path) -> tuple[list[int], str] | None:
    """Stamp and hash; None where nothing is known."""
    try:
        content = json.loads(note.read_text())
        stamp, digest = [int(number) for number in content["stamp"]], str(content["sha256"])
        return (stamp, digest) if len(bytes.fromhex(digest)) == hashlib.sha256().digest_size else None
    except (OSError, ValueError, LookupError, TypeError):
        return None


def _write(note: Path, text: str) -> None:
    """A cache that takes nothing is not missed."""

    def write(part: Path) -> None:
        part.write_text(text)

    try:
        publish(note, write)
    except PreparationFailed:
        return
