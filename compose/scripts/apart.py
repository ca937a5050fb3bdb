"""Environments of their own, for packages whose pins contradict ours or each other's. Standard library only.

Each lies in the cache folder, keyed by its lock file; a link in the project points to it.
"""

import argparse
import hashlib
import json
import re
import subprocess
import sys
import tempfile
import venv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from console_log import run_logged, step

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Apart:
    """`requirements-NAME.lock`, installed into an environment that the link `.NAME` points to."""

    name: str
    title: str
    """As a person calls it."""
    takes: str
    """Size and time of its installation, in words."""
    wanted: tuple[str, ...]
    """What its lock file is resolved from."""
    header: str
    """The comment at the top of its lock file."""

    @property
    def lock(self) -> Path:
        return ROOT / f"requirements-{self.name}.lock"

    def install(self, cache: Path) -> None:
        """Install what the lock file names, unless an earlier run did, and let the link point there."""
        python = f"py{sys.version_info.major}{sys.version_info.minor}"
        key = hashlib.sha256(self.lock.read_bytes()).hexdigest()[:12]
        folder = cache / f"{self.name}-{python}-{key}"
        done = folder / ".complete"
        if not done.exists():
            with step(f"Making an environment for {self.title} in {folder}"):
                venv.create(folder, with_pip=True, clear=True)
            pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--disable-pip-version-check"]
            title = f"Installing {self.title} ({self.takes}, once)"
            run_logged(title, [*pip, "--no-deps", "-r", str(self.lock)], cache / "logs" / f"{self.name}.log")
            done.touch()
        link = ROOT / f".{self.name}"
        if not (link.is_symlink() and link.readlink() == folder):
            link.unlink(missing_ok=True)
            link.symlink_to(folder)

    def write_lock(self) -> None:
        """Resolve against the package index; nothing is installed."""
        with tempfile.NamedTemporaryFile(suffix=".json") as report:
            command = [sys.executable, "-m", "pip", "install", "-q", "--dry-run", "--ignore-installed"]
            subprocess.run([*command, "--report", report.name, *self.wanted], check=True)
            found = json.loads(Path(report.name).read_text())["install"]
        pairs = ((item["metadata"]["name"], item["metadata"]["version"]) for item in found)
        lines = sorted(f"{re.sub(r'[-_.]+', '-', name).lower()}=={version}" for name, version in pairs)
        self.lock.write_text(self.header + "\n".join(lines) + "\n")


def main(documentation: str | None, environments: Sequence[Apart]) -> None:
    """The command of a script: install, or write the lock files."""
    from setup import cache_folder

    layout = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=documentation, formatter_class=layout)
    parser.add_argument("--lock", action="store_true", help="resolve the lock file instead")
    is_lock = parser.parse_args().lock
    for environment in environments:
        if is_lock:
            environment.write_lock()
        else:
            environment.install(cache_folder())
