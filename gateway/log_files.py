"""The output of a service: into a file that is rotated, and line by line to whoever listens."""

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

LIMIT = 8 * 2**20  # bytes in a file
KEPT = 3  # older files: <name>.log.1 is the newest of them

Listener = Callable[[str, str], None]


class LogFile:
    """Appends to `<folder>/<name>.log`.

    Args:
        listener: receives (name, line) for every complete line.
    """

    def __init__(self, folder: Path, name: str, listener: Listener | None = None, limit: int = LIMIT) -> None:
        self.path = folder / f"{name}.log"
        self._name = name
        self._listener = listener
        self._limit = limit
        self._rest = b""
        self._file: BinaryIO = self.path.open("ab", buffering=0)

    def write(self, chunk: bytes) -> None:
        """Append bytes as they come; they are lost where the disk is full."""
        with contextlib.suppress(OSError):
            if self._file.tell() + len(chunk) > self._limit:
                self._rotate()
            self._file.write(chunk)
        if self._listener:
            *lines, self._rest = (self._rest + chunk).split(b"\n")
            for line in lines:
                self._listener(self._name, line.decode(errors="replace").rstrip("\r"))

    def note(self, text: str) -> None:
        """A line of the supervisor's own."""
        self.write(f"--- {text}\n".encode())

    def close(self) -> None:
        """Close the file; writing is over."""
        self._file.close()

    def _rotate(self) -> None:
        names = [self.path, *(self.path.with_suffix(f".log.{n}") for n in range(1, KEPT + 1))]
        for older, newer in zip(reversed(names[1:]), reversed(names[:-1]), strict=True):
            if newer.exists():
                newer.replace(older)
        full, self._file = self._file, self.path.open("ab", buffering=0)
        full.close()


def tail(path: Path, lines: int = 15) -> str:
    """The last lines of a log."""
    if not path.exists():
        return ""
    with path.open("rb") as source:
        source.seek(max(0, path.stat().st_size - 16384))
        return "\n".join(source.read().decode(errors="replace").splitlines()[-lines:])
