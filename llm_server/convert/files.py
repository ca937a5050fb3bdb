"""Files that are there whole or not at all, named by what went into them."""

import contextlib
import hashlib
import os
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

import psutil

from llm_server.errors import PreparationFailed

PART = 1 << 20


def content_hash(paths: Iterable[Path], *facts: str) -> str:
    """16 hex digits over names and contents of files, and over other facts that shape the output."""
    digest = hashlib.blake2b(digest_size=8)
    for fact in facts:
        digest.update(fact.encode() + b"\0")
    for path in sorted(paths, key=lambda p: p.name):
        digest.update(path.name.encode() + b"\0" + str(path.stat().st_size).encode() + b"\0")
        with path.open("rb") as file:
            while part := file.read(PART):
                digest.update(part)
    return digest.hexdigest()


def file_sha256(path: Path) -> str:
    """SHA-256 of a file in hex."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while part := file.read(PART):
            digest.update(part)
    return digest.hexdigest()


def publish(target: Path, make: Callable[[Path], None]) -> Path:
    """Let `make` write a temporary file beside `target`, then put it in place in one step.

    Nothing half-made is left when it fails: PreparationFailed says why (a full disk, for one).
    """
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        make(part)
        with part.open("rb") as file:
            os.fsync(file.fileno())
        part.replace(target)
    except OSError as error:
        raise PreparationFailed(f"Cannot write {target}: {error.strerror or error}.") from error
    finally:
        with contextlib.suppress(NotADirectoryError):  # a file lies where a folder should be
            part.unlink(missing_ok=True)
    return target


def discard_parts(folder: Path) -> None:
    """Remove what processes have left behind that ended while they wrote."""
    for part in folder.glob(".*.part"):
        owner = part.name.split(".")[-2]
        if owner.isdigit() and psutil.pid_exists(int(owner)):
            continue
        if part.is_dir():
            shutil.rmtree(part, ignore_errors=True)
        else:
            part.unlink(missing_ok=True)
