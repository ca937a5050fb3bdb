"""The contract of test_langfuse*.py with other versions of the SDK, each in an environment of its own.

`python -m tests.contracts.langfuse_matrix [VERSION ...]` makes the environments with pip in a folder that
stays (LANGFUSE_MATRIX, else in the system's temporary folder): it needs a package index and is no part of CI.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

from tests.contracts.langfuse_server import trace_server

VERSIONS = ("3.15.0", "4.18.0")
BESIDE = ("pytest", "langchain", "langgraph")
HERE = Path(__file__).parent


def interpreter(folder: Path, version: str) -> Path:
    """The Python of an environment that has this version; made where it is missing."""
    place = folder / version
    python = place / "bin" / "python"
    if not (place / "ready").exists():
        venv.create(place, with_pip=True, clear=True)
        wanted = [f"langfuse=={version}", *BESIDE]
        subprocess.run([python, "-m", "pip", "install", "--quiet", *wanted], check=True)
        (place / "ready").touch()
    return python


def run(python: Path, environment: dict[str, str]) -> int:
    """pytest's exit status for the contract under another interpreter."""
    # Its own settings and no conftest above: those belong to this repository's environment.
    options = ["-c", os.devnull, "--rootdir", str(HERE), "--confcutdir", str(HERE), "-p", "no:cacheprovider"]
    command = [
        str(python),
        "-m",
        "pytest",
        "-q",
        "-ra",
        *options,
        *map(str, sorted(HERE.glob("test_langfuse*.py"))),
    ]
    return subprocess.run(command, env={**os.environ, **environment}, cwd=HERE, check=False).returncode


def main(versions: list[str]) -> int:
    """How many versions failed."""
    folder = Path(os.environ.get("LANGFUSE_MATRIX", Path(tempfile.gettempdir()) / "langfuse-matrix"))
    failed = 0
    for version in versions or VERSIONS:
        python = interpreter(folder, version)
        with tempfile.TemporaryDirectory() as data, trace_server(Path(data)) as server:
            print(f"langfuse {version} against {server.host}", flush=True)
            failed += run(python, server.environment) != 0
    return failed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
