"""Set Label Studio up: real, pinned, in an environment of its own (about 1 GB).

    python3 compose/scripts/setup_label_studio.py           install it, unless that is done
    python3 compose/scripts/setup_label_studio.py --lock    resolve its lock file anew

Its pins contradict ours, so it never shares an environment with Loopyard. The environment lies in the cache
folder, keyed by the lock file; `.label-studio` in the project points to it. Standard library only.
"""

import argparse
import hashlib
import json
import re
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

from console_log import run_logged, step

ROOT = Path(__file__).resolve().parents[2]
LOCK = ROOT / "requirements-label-studio.lock"
LINK = ROOT / ".label-studio"
VERSION = "1.23.2"
HEADER = f"""\
# What label-studio {VERSION} needs, in an environment of its own: its pins contradict ours. Written by
# `python3 compose/scripts/setup_label_studio.py --lock`. Installed with --no-deps.
"""


def install_label_studio(cache: Path) -> None:
    """Install what the lock file names, unless an earlier run did, and let `.label-studio` point there."""
    python = f"py{sys.version_info.major}{sys.version_info.minor}"
    key = hashlib.sha256(LOCK.read_bytes()).hexdigest()[:12]
    folder = cache / f"label-studio-{python}-{key}"
    done = folder / ".complete"
    if not done.exists():
        with step(f"Making an environment for Label Studio in {folder}"):
            venv.create(folder, with_pip=True, clear=True)
        pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--disable-pip-version-check"]
        title = "Installing Label Studio (about 1 GB, 2 min, once)"
        run_logged(title, [*pip, "--no-deps", "-r", str(LOCK)], cache / "logs" / "label-studio.log")
        done.touch()
    if not (LINK.is_symlink() and LINK.readlink() == folder):
        LINK.unlink(missing_ok=True)
        LINK.symlink_to(folder)


def write_lock() -> None:
    """Resolve against the package index; nothing is installed."""
    with tempfile.NamedTemporaryFile(suffix=".json") as report:
        command = [sys.executable, "-m", "pip", "install", "-q", "--dry-run", "--ignore-installed"]
        subprocess.run([*command, "--report", report.name, f"label-studio=={VERSION}"], check=True)
        found = json.loads(Path(report.name).read_text())["install"]
    pairs = ((item["metadata"]["name"], item["metadata"]["version"]) for item in found)
    lines = sorted(f"{re.sub(r'[-_.]+', '-', name).lower()}=={version}" for name, version in pairs)
    LOCK.write_text(HEADER + "\n".join(lines) + "\n")


def main() -> None:
    """Install, or write the lock file."""
    from setup import cache_folder

    layout = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=layout)
    parser.add_argument("--lock", action="store_true", help="resolve the lock file instead")
    if parser.parse_args().lock:
        write_lock()
    else:
        install_label_studio(cache_folder())


if __name__ == "__main__":
    main()
