"""Adapters that come over HTTP: files of a few names, into a folder of the server's own.

Whatever an archive calls its members, they are written under the names that an adapter's files have, or not
at all: no path of a client is ever used as one.
"""

import gzip
import secrets
import shutil
import tarfile
import threading
import zlib
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import IO, cast

from llm_server.adapters.source import CONFIG, WEIGHTS
from llm_server.errors import AdapterRefused, Conflict

FILES = frozenset({CONFIG, WEIGHTS})
ARCHIVES = (".tar", ".tar.gz", ".tgz")
MAX_MEMBERS = 256
MAX_HEADERS = 1 << 20
"""Bytes of an archive that are no content. The names and attributes of a member are read whole, and a few
kilobytes of gzip can hold gigabytes of them.
"""
GZIP = b"\x1f\x8b"
PIECE = 1 << 20
File = tuple[str, IO[bytes]]
"""The name that a client gives a file, and the file."""


class Uploads:
    """One folder; what no version comes from is removed at the next upload. Any thread may call it."""

    def __init__(self, folder: Path, one: int, all_of_them: int) -> None:
        """`one`: bytes of an adapter, unpacked; `all_of_them`: of everything that is kept."""
        self._folder, self._one, self._all = folder, one, all_of_them
        self._lock = threading.Lock()
        self._arriving: set[Path] = set()

    def take(self, name: str, files: Sequence[File], needed: Callable[[], Collection[str]]) -> Path:
        """Where the adapter lies now, for `AdapterManager.load`; call `settled` when that has begun.

        `needed` tells the sources of versions that are known, in one step with the removal of others.
        AdapterRefused: unknown_format, unsafe_path, too_large, bad_archive; Conflict (uploads_full) where
        there is no room.
        """
        place = self._folder / f"{name}-{secrets.token_hex(6)}"
        with self._lock:
            self._arriving.add(place)
            self._sweep(needed())
        try:
            place.mkdir(parents=True)
            found = _written(place, files, self._one)
            with self._lock:
                if _bytes(self._folder) > self._all:
                    raise Conflict(
                        f"Uploaded adapters may take {self._all >> 20} MB (LLM_UPLOADS_MB), and with this "
                        "one they take more. Unload some.",
                        code="uploads_full",
                    )
            return found
        except BaseException:
            shutil.rmtree(place, ignore_errors=True)
            self.settled(place)
            raise

    def settled(self, path: Path) -> None:
        """The version is known, and with it the need for its files; or it never will be."""
        with self._lock:
            self._arriving = {one for one in self._arriving if one not in (path, path.parent)}

    def _sweep(self, needed: Collection[str]) -> None:
        kept = {*(str(one) for one in self._arriving), *needed, *(str(Path(one).parent) for one in needed)}
        for place in self._folder.glob("*"):
            if str(place) not in kept:
                shutil.rmtree(place, ignore_errors=True)


def _written(place: Path, files: Sequence[File], bound: int) -> Path:
    """A PEFT folder, or a GGUF file in one."""
    names = [name.lower() for name, _ in files]
    if len(files) == 1 and names[0].endswith(".gguf"):
        _copy(files[0][1], place / "adapter.gguf", bound)
        return place / "adapter.gguf"
    if len(files) == 1 and names[0].endswith(ARCHIVES):
        _unpack(files[0][1], place, bound)
    elif set(names) == FILES and len(files) == len(FILES):
        left = bound
        for name, file in files:
            left -= _copy(file, place / name.lower(), left)
    else:
        given = ", ".join(repr(name[:80]) for name, _ in files) or "nothing"
        raise AdapterRefused(
            f"An upload is a .gguf file, an archive ({', '.join(ARCHIVES)}), or {CONFIG} and {WEIGHTS}; not "
            f"{given}.",
            param="file",
            code="unknown_format",
        )
    return place


def _unpack(archive: IO[bytes], place: Path, bound: int) -> None:
    """The two files of a PEFT folder; a model card or a tokenizer beside them is left out."""
    try:
        packed = archive.read(len(GZIP)) == GZIP
        archive.seek(0)
        metered = _Metered(gzip.GzipFile(fileobj=archive, mode="rb") if packed else archive)
        with tarfile.open(fileobj=cast(IO[bytes], metered), mode="r:") as tar:
            left = bound
            for member in _members(tar, bound):
                name = PurePosixPath(member.name).name
                source = tar.extractfile(member) if name in FILES else None
                if source is None:
                    continue
                if (place / name).exists():
                    raise AdapterRefused(f"{name} is in the archive twice.", param="file", code="bad_archive")
                metered.left += member.size
                left -= _copy(source, place / name, left)
    except (tarfile.TarError, EOFError, OSError, zlib.error, ValueError, RecursionError) as error:
        why = str(error).partition("\n")[0].rstrip(":")
        told = f"The archive cannot be read: {why}."
        raise AdapterRefused(told, param="file", code="bad_archive") from error


class _Metered:
    """A file of which no more is read than it is allowed."""

    def __init__(self, file: IO[bytes] | gzip.GzipFile) -> None:
        self._file = file
        self.left = MAX_HEADERS

    def read(self, size: int) -> bytes:
        """ReadError where that is more than is left, or everything."""
        if not 0 <= size <= self.left:
            raise tarfile.ReadError(f"its headers have more than {MAX_HEADERS >> 20} MB")
        self.left -= size
        return self._file.read(size)

    def seek(self, position: int) -> int:
        """As of files."""
        return self._file.seek(position)

    def tell(self) -> int:
        """As of files."""
        return self._file.tell()


def _members(tar: tarfile.TarFile, bound: int) -> Iterator[tarfile.TarInfo]:
    """Regular files. AdapterRefused for anything that wants to be somewhere else, or is too much."""
    size = 0
    for count, member in enumerate(tar):
        path = PurePosixPath(member.name)
        if path.is_absolute() or ".." in path.parts or not (member.isreg() or member.isdir()):
            raise AdapterRefused(
                f"{member.name[:80]!r} in the archive is no plain file below it.",
                param="file",
                code="unsafe_path",
            )
        size += member.size
        if size > bound or count >= MAX_MEMBERS:
            raise _too_large(bound)
        if member.isreg():
            yield member


def _copy(source: IO[bytes], target: Path, bound: int) -> int:
    """The bytes that were written."""
    written = 0
    with target.open("xb") as out:
        while piece := source.read(PIECE):
            written += len(piece)
            if written > bound:
                raise _too_large(bound)
            out.write(piece)
    return written


def _too_large(bound: int) -> AdapterRefused:
    return AdapterRefused(
        f"The adapter has more than {bound >> 20} MB or {MAX_MEMBERS} files (LLM_UPLOAD_MB).",
        param="file",
        code="too_large",
    )


def _bytes(folder: Path) -> int:
    total = 0
    for file in folder.rglob("*"):
        with suppress(OSError):
            total += file.stat().st_size if file.is_file() else 0
    return total
