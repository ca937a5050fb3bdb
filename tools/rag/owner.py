"""One process owns a data folder: two writers would corrupt the indexes."""

import fcntl
import os
from pathlib import Path

from tools.errors import OwnedElsewhere

LOCK_NAME = "owner.lock"


class Owner:
    """Holds the folder until `release`; the kernel lets go of it when the process dies."""

    def __init__(self, folder: Path) -> None:
        """Take the folder; raises `OwnedElsewhere` with the pid of the process that has it."""
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / LOCK_NAME
        self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.pread(self._file, 20, 0).decode().strip() or "unknown"
            os.close(self._file)
            raise OwnedElsewhere(
                f"{folder} is in use by process {holder}. Stop that one, or give this one another TOOLS_DATA."
            ) from error
        os.truncate(self._file, 0)
        os.pwrite(self._file, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        """Let go of the folder."""
        os.close(self._file)
