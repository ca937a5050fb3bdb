"""An adapter as a ZIP archive: written as a stream, read within limits. Nothing is ever unpacked by a name
that the archive gives.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from gateway.errors import BadRequest, TooLarge
from rlhf.registry import CONFIG, WEIGHTS

BLOCK = 1 << 20
CONFIG_BYTES = 1 << 20
NEEDED = (CONFIG, WEIGHTS)


class _Pipe:
    """A file without an end or a way back: what is written is taken off again."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def write(self, data: bytes, /) -> int:
        """Take some in; how much."""
        self._parts.append(bytes(data))
        return len(data)

    def flush(self) -> None:
        """Nothing is held back."""

    def close(self) -> None:
        """What was written stays until it is taken."""

    def taken(self) -> bytes:
        """What was written since the last time."""
        whole = b"".join(self._parts)
        self._parts.clear()
        return whole


def packed(folder: Path, top: str) -> Iterator[bytes]:
    """The files of a folder as a ZIP archive, below a folder named `top`; a block in memory at a time."""
    pipe = _Pipe()
    with zipfile.ZipFile(pipe, "w", zipfile.ZIP_STORED) as archive:
        for file in sorted(p for p in folder.rglob("*") if p.is_file() and not p.is_symlink()):
            entry = zipfile.ZipInfo.from_file(file, f"{top}/{file.relative_to(folder).as_posix()}")
            with file.open("rb") as source, archive.open(entry, "w") as sink:
                while block := source.read(BLOCK):
                    sink.write(block)
                    yield pipe.taken()
    yield pipe.taken()


def unpack(file: Path, folder: Path, limit: int) -> None:
    """Take the two files of a PEFT adapter out of an archive, wherever in it they lie.

    Raises BadRequest for what is no archive of one adapter, TooLarge for one that unpacks to over `limit`
    bytes, whatever it says of itself.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            entries = _entries(archive)
            for name in NEEDED:
                _extract(archive, entries[name], folder / name, CONFIG_BYTES if name == CONFIG else limit)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, OSError) as error:
        # An OSError with a number is our disk's; one without is a decompressor's word on the archive.
        if isinstance(error, OSError) and error.errno:
            raise
        raise BadRequest(f"The file is no ZIP archive that can be read: {error}.", param="file") from error


def _entries(archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    found: dict[str, zipfile.ZipInfo] = {}
    for entry in archive.infolist():
        name = PurePosixPath(entry.filename).name
        if name in NEEDED and not entry.is_dir():
            if name in found:
                raise BadRequest(f"The archive holds {name} twice; pack one adapter.", param="file")
            found[name] = entry
    if absent := [name for name in NEEDED if name not in found]:
        raise BadRequest(f"The archive has no {' and no '.join(absent)}; pack a PEFT folder.", param="file")
    return found


def _extract(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, path: Path, limit: int) -> None:
    # What is read is counted: the size that an entry claims is the packer's word.
    if entry.file_size > limit:
        raise TooLarge(f"{path.name} unpacks to more than {max(limit >> 20, 1)} MB.", param="file")
    read = 0
    with archive.open(entry) as source, path.open("wb") as sink:
        while block := source.read(BLOCK):
            read += len(block)
            if read > limit:
                raise TooLarge(f"{path.name} unpacks to more than it may.", param="file")
            sink.write(block)
