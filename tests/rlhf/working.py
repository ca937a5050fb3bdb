"""A worker as a process in a folder of its own."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from rlhf.jobs import ENDED, Job, Jobs


@dataclass(frozen=True)
class Place:
    """Folders of a worker. `more`: further RLHF_* settings."""

    root: Path
    more: Mapping[str, str] = field(default_factory=dict)

    @property
    def models(self) -> Path:
        return self.root / "models"

    @property
    def heartbeat(self) -> Path:
        return self.root / self.more.get("RLHF_RUN", "run") / "worker.json"

    @property
    def env(self) -> dict[str, str]:
        folders = {"RLHF_DATA": "jobs", "RLHF_MODELS": "models", "RLHF_RUN": "run"}
        own = {name: str(self.root / self.more.get(name, folder)) for name, folder in folders.items()}
        others = {name: value for name, value in self.more.items() if name not in folders}
        return {**os.environ, "RLHF_BEAT_SECONDS": "0.1", "RLHF_STOP_SECONDS": "0", **others, **own}

    def add(self, files: dict[str, str]) -> None:
        """Write model files."""
        for name, text in files.items():
            (self.models / name).parent.mkdir(parents=True, exist_ok=True)
            (self.models / name).write_text(text)

    def ask(self, jobs: Jobs, once: str | None = None) -> str:
        """Ask for a check of the models."""
        return jobs.ask_for_check(self.root / "jobs", self.models, once)

    def run(self, *verb: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "rlhf", *verb]
        return subprocess.run(command, env=self.env, capture_output=True, text=True, timeout=110)


def until(condition: Callable[[], bool]) -> None:
    """Wait for something that has to happen; the test's time limit is the only limit."""
    while not condition():
        time.sleep(0.02)


def beats(place: Place, pid: int) -> bool:
    try:
        return bool(json.loads(place.heartbeat.read_text())["pid"] == pid)
    except OSError:
        return False


@contextmanager
def worker(place: Place) -> Iterator[subprocess.Popen[bytes]]:
    """A worker that is ready."""
    with (
        (place.root / "worker.log").open("ab") as log,
        subprocess.Popen([sys.executable, "-m", "rlhf", "worker"], env=place.env, stderr=log) as process,
    ):
        until(lambda: beats(place, process.pid) or process.poll() is not None)
        assert process.poll() is None, (place.root / "worker.log").read_text()
        try:
            yield process
        finally:
            process.kill()


def finished(jobs: Jobs, job_id: str) -> Job:
    until(lambda: jobs.get(job_id).state in ENDED)
    return jobs.get(job_id)
