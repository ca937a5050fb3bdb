"""A real worker beside a test's gateway, and rows to build from."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.rlhf.rows import rows


@contextmanager
def worker(data: Path, **more: str) -> Iterator[subprocess.Popen[bytes]]:
    """One that is ready, on a gateway's data folder; `more` is added to its environment."""
    folders = {"RLHF_DATA": "jobs", "RLHF_MODELS": "models", "RLHF_RUN": "run"}
    env = {**os.environ, **{name: str(data / folder) for name, folder in folders.items()}}
    env |= {"RLHF_BEAT_SECONDS": "0.1", "RLHF_STOP_SECONDS": "0", **more}
    (data / "models").mkdir(parents=True, exist_ok=True)
    with subprocess.Popen(
        [sys.executable, "-m", "rlhf", "worker"], env=env, stderr=subprocess.DEVNULL
    ) as process:
        while not (data / "run" / "worker.json").exists():
            assert process.poll() is None, "the worker did not start"
            time.sleep(0.05)
        try:
            yield process
        finally:
            process.kill()
            (data / "run" / "worker.json").unlink(missing_ok=True)


def preferences(count: int = 40, **columns: Any) -> bytes:
    """JSON lines of rows that have nothing in common."""
    return "".join(json.dumps({**row.plain(), **columns}) + "\n" for row in rows(count)).encode()
