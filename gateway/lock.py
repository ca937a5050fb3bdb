"""One supervisor per data folder."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gateway.cli_errors import CommandError


@contextmanager
def only_one(path: Path, what: str) -> Iterator[None]:
    """Hold a lock file that carries our process id; the system drops the lock when we end, however we end.

    Raises:
        CommandError: another process holds it; the text names its process id.
    """
    with path.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            holder = file.read().strip() or "unknown"
            raise CommandError(
                f"{what} is already run by process {holder}",
                f"use it, stop it with `kill {holder}`, or choose another folder with --data",
            ) from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield
