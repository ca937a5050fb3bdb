"""A file on its way to the disk: counted, hashed, and gone without a trace if it does not arrive whole."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from starlette.datastructures import UploadFile

from gateway.errors import BadRequest, StorageFull, TooLarge, WrongMediaType, is_full
from gateway.ids import new_id

BLOCK = 1 << 20
TYPES = {
    ".md": "text/markdown",
    ".markdown": "text/markdown",
    ".txt": "text/plain",
    ".csv": "text/csv",
    ".pdf": "application/pdf",
    ".docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
}
MAGIC = {".pdf": b"%PDF", ".docx": b"PK\x03\x04"}
NAME = 200


@dataclass(frozen=True, slots=True)
class Stored:
    """A file that is on the disk. `path` is a temporary name until the row is committed."""

    path: Path
    sha256: str
    bytes: int


def checked_name(raw: str | None) -> tuple[str, str]:
    """The file's name (a relative path, as the upload of a folder sends it) and its media type.

    Raises BadRequest, or WrongMediaType naming what can be read.
    """
    path = PurePosixPath((raw or "").replace("\\", "/").strip())
    name = "/".join(part for part in path.parts if part not in ("/", ".", ".."))
    if not name or len(name) > NAME or any(ord(char) < 32 for char in name):
        raise BadRequest(f"The file needs a name of at most {NAME} characters.", param="file")
    suffix = PurePosixPath(name).suffix.lower()
    if suffix not in TYPES:
        raise WrongMediaType(
            f"Files of type {suffix or '(none)'} cannot be read. Types: {' '.join(sorted(TYPES))}.",
            param="file",
        )
    return name, TYPES[suffix]


async def receive(upload: UploadFile, folder: Path, limit: int, *, as_named: bool = True) -> Stored:
    """Writes an upload to a temporary file of `folder` and syncs it. `as_named`: the name says what it is.

    Raises TooLarge over `limit` bytes, BadRequest for an empty file, WrongMediaType where the content is not
    what the name says, StorageFull; nothing is left behind then.
    """
    path = folder / f".{new_id()}.part"
    digest, size = hashlib.sha256(), 0
    suffix = PurePosixPath(upload.filename or "").suffix.lower() if as_named else ""
    with _removed_on_error(path):
        with await asyncio.to_thread(path.open, "wb") as file:
            while block := await upload.read(BLOCK):
                if not size and not block.startswith(MAGIC.get(suffix, b"")):
                    raise WrongMediaType(f"The content is not {suffix.lstrip('.').upper()}.", param="file")
                size += len(block)
                if size > limit:
                    raise TooLarge(f"The file is larger than {limit >> 20} MB.", param="file")
                digest.update(block)
                await asyncio.to_thread(file.write, block)
            await asyncio.to_thread(_sync, file.fileno())
        if not size:
            raise BadRequest("The file is empty.", param="file")
    return Stored(path, digest.hexdigest(), size)


def kept(content: bytes, folder: Path, limit: int) -> Stored:
    """The same of what was made here. Blocks; raises TooLarge, StorageFull."""
    if len(content) > limit:
        raise TooLarge(f"It is larger than {limit >> 20} MB.")
    path = folder / f".{new_id()}.part"
    with _removed_on_error(path), path.open("wb") as file:
        file.write(content)
        file.flush()
        _sync(file.fileno())
    return Stored(path, hashlib.sha256(content).hexdigest(), len(content))


def _sync(descriptor: int) -> None:
    os.fsync(descriptor)


@contextmanager
def _removed_on_error(path: Path) -> Iterator[None]:
    try:
        yield
    except BaseException as error:
        path.unlink(missing_ok=True)
        if is_full(error):
            raise StorageFull("The disk is full. Free some space and upload the file again.") from error
        raise
