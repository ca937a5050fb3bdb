"""A serving process of our own, asked over HTTP."""

import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil

from tests.bench.llm_peers import free_port

PATIENCE = 300
"""Seconds until it has to be healthy; the first start converts the model."""
SETTLING = 10
"""Seconds in which every slot of those who have left has to be back."""


@dataclass(frozen=True, slots=True)
class Server:
    """Where it is."""

    url: str
    process: psutil.Process

    @property
    def memory(self) -> int:
        """Resident bytes; those of a converter process beside it are not counted."""
        return int(self.process.memory_info().rss)

    def metric(self, name: str) -> float:
        """A gauge or counter out of /metrics, all its labels together. KeyError where it is not there."""
        text = httpx.get(f"{self.url}/metrics", timeout=30).text
        found = re.findall(rf"^{re.escape(name)}(?:{{.*}})? (\S+)$", text, re.MULTILINE)
        if not found:
            raise KeyError(name)
        return sum(map(float, found))

    def held(self) -> float:
        """Slots and places of the queue that are still held when nobody asks any more. Who has just left is
        counted until the step that runs is through, so this looks until there is nobody, or for 10 s.
        """
        deadline = time.monotonic() + SETTLING
        while True:
            held = self.metric("llm_slots_busy") + self.metric("llm_queue_sequences")
            if not held or time.monotonic() > deadline:
                return held
            time.sleep(0.05)


@contextmanager
def serving(data: Path, **settings: object) -> Iterator[Server]:
    """`python -m llm_server serve` with these settings (`slots=8` is LLM_SLOTS). RuntimeError with the end of
    its log where it does not become healthy.
    """
    given = {"data": data, "port": free_port(), "embeddings": "false", **settings}
    ours = {f"LLM_{name.upper()}": str(value) for name, value in given.items()}
    others = {name: value for name, value in os.environ.items() if not name.startswith("LLM_")}
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "llm_server", "serve"], env={**others, **ours}, stdout=log, stderr=log
        )
        try:
            url = f"http://127.0.0.1:{given['port']}"
            if not _healthy(url, process):
                log.seek(0)
                raise RuntimeError(f"the server did not start: {log.read()[-2000:]}")
            yield Server(url, psutil.Process(process.pid))
        finally:
            process.terminate()
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _healthy(url: str, process: "subprocess.Popen[bytes]") -> bool:
    deadline = time.monotonic() + PATIENCE
    while process.poll() is None and time.monotonic() < deadline:
        try:
            if httpx.get(f"{url}/health", timeout=5).status_code == 200:
                return True
        except httpx.TransportError:
            pass
        time.sleep(0.1)
    return False
