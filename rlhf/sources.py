"""Which code this is: a hash of the sources, and the git commit that they are of."""

import hashlib
import subprocess
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).parent
IDLE = ("cli", "worker", "fleet")
"""Beginnings of the names of files that ask for work and decide nothing of what comes of it."""
SECONDS = 20


def sources_sha256(package: Path = PACKAGE) -> str:
    """Hash of everything that a result may depend on: Python and recipes of the room, but not the starter's,
    whose weights are hashed where they are used. Read anew each time, because
    a worker outlives an update and its steps are new processes.
    """
    whole = hashlib.sha256()
    for path in sorted([*package.rglob("*.py"), *package.glob("recipes/*.yaml")]):
        name = path.relative_to(package)
        if name.parts[0] != "starter" and not (len(name.parts) == 1 and name.stem.startswith(IDLE)):
            whole.update(f"{name.as_posix()} {hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return whole.hexdigest()


@cache
def commit(package: Path = PACKAGE) -> str:
    """The git commit of the sources, followed by `, changed` where they are not as it has them; empty where
    they are not in a repository of their own, as when they were installed.
    """
    try:
        # Of a repository that something else is installed into they are no part.
        _git(package, "ls-files", "--error-unmatch", Path(__file__).name)
        found = _git(package, "rev-parse", "HEAD").strip()
        changed = _git(package, "status", "--porcelain", "--", ".")
    except (OSError, subprocess.SubprocessError):
        return ""
    return f"{found}, changed" if changed.strip() else found


def _git(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), *arguments]  # from PATH, as everything that is installed
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=True)
    return done.stdout
