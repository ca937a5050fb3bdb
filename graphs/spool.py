"""Spans and scores on their way: written to disk first, delivered in order by a thread of their own.

Whoever makes spans waits for a small file and never for the network. A sink that is slow, refuses or is not
there costs disk up to a bound; then the oldest batches make room and are counted.
"""

from __future__ import annotations

import base64
import gzip
import itertools
import json
import logging
import os
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import httpx

SPANS, SCORES, WITHDRAWN = ".otlp", ".scores", ".withdrawn"
"""Kinds of batches: spans, scores, and ids of scores that are taken back."""
ADDRESSES = {
    SPANS: (
        "/api/public/otel/v1/traces",
        {"Content-Type": "application/x-protobuf", "Content-Encoding": "gzip"},
    ),
    SCORES: ("/api/public/scores", {"Content-Type": "application/json"}),
}
"""What a file's suffix says: where its bytes go, and with which headers."""
KINDS = {*ADDRESSES, WITHDRAWN}
BOUND = 64 << 20
"""Bytes on disk."""
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0
"""Seconds between two tries; doubled each time."""
TIMEOUT = 10.0
FAREWELL = 2.0
"""Seconds that the end of the program waits for a delivery."""
GONE = 404
"""What the sink says of a score that it does not have: there is nothing to take back."""
WAITS_FOR_US = {401, 403, 404, 408, 425, 429}
"""Refusals that pass: keys that are being changed, a server that is being started."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Sink:
    """A Langfuse server, or the embedded trace store."""

    host: str
    public_key: str
    secret_key: str
    own: bool = True
    """On this machine or network: no proxy of the environment comes between."""

    @property
    def headers(self) -> dict[str, str]:
        pair = base64.b64encode(f"{self.public_key}:{self.secret_key}".encode()).decode()
        return {"Authorization": f"Basic {pair}", "x-langfuse-ingestion-version": "4"}


class Spool:
    """Batches as files whose names sort by their time."""

    def __init__(self, folder: Path, bound: int = BOUND) -> None:
        self._folder = folder
        self._bound = bound
        self._count = itertools.count()
        self._lock = threading.Lock()
        self.dropped = 0
        folder.mkdir(parents=True, exist_ok=True)
        for half in folder.glob("*.partial"):
            half.unlink(missing_ok=True)
        self._held = sum(file.stat().st_size for file in self.waiting())

    def put(self, batch: bytes, kind: str = SPANS) -> None:
        """Returns when the batch is on disk. Raises OSError where that is full."""
        packed = gzip.compress(batch, 3) if kind == SPANS else batch
        with self._lock:
            if len(packed) > self._bound:
                self._count_dropped()
                return
            self._make_room(len(packed))
            name = f"{time.time_ns():020d}-{next(self._count):06d}"
            partial = self._folder / f"{name}.partial"
            with partial.open("wb") as file:
                file.write(packed)
                file.flush()
                os.fsync(file.fileno())
            partial.rename(partial.with_suffix(kind))
            self._held += len(packed)

    def waiting(self) -> list[Path]:
        """The oldest first; none where somebody has removed the folder."""
        return sorted(file for file in self._folder.glob("*") if file.suffix in KINDS)

    def remove(self, file: Path) -> None:
        """A batch that has arrived, or never will."""
        with self._lock:
            self._unlink(file)

    def _unlink(self, file: Path) -> None:
        try:
            size = file.stat().st_size
            file.unlink()
        except FileNotFoundError:
            return  # it has made room meanwhile
        self._held -= size

    def _make_room(self, size: int) -> None:
        if self._held + size <= self._bound:
            return
        for file in self.waiting():
            if self._held + size <= self._bound:
                return
            self._unlink(file)
            self._count_dropped()

    def _count_dropped(self) -> None:
        self.dropped += 1
        _log.warning("a batch was dropped, the spool is full", extra={"dropped": self.dropped})


class Courier(threading.Thread):
    """Takes batches to the sink, one after the other; what fails is tried again before the next one."""

    def __init__(self, spool: Spool, sink: Sink) -> None:
        super().__init__(name="span-courier", daemon=True)
        self._spool = spool
        self._sink = sink
        self._wake = threading.Event()
        self._ending = threading.Event()

    def wake(self) -> None:
        """There is something new."""
        self._wake.set()

    def close(self) -> None:
        """Tries what is left once more, within FAREWELL seconds; the rest stays for the next start."""
        self._ending.set()
        self._wake.set()
        self.join(FAREWELL)

    def run(self) -> None:
        pause = FIRST_PAUSE
        timeout = httpx.Timeout(TIMEOUT, connect=5.0)
        with httpx.Client(
            timeout=timeout, headers=self._sink.headers, trust_env=not self._sink.own
        ) as client:
            while True:
                self._wake.clear()
                if self._deliver(client):
                    pause = FIRST_PAUSE
                    if self._ending.is_set():
                        return
                    self._wake.wait()
                elif self._ending.wait(pause):
                    return
                else:
                    pause = min(pause * 2, LONGEST_PAUSE)

    def _deliver(self, client: httpx.Client) -> bool:
        """Whether everything that waited is done with."""
        for file in self._spool.waiting():
            try:
                batch = file.read_bytes()
            except FileNotFoundError:
                continue  # it has made room
            try:
                status = self._send(client, file.suffix, batch)
            except (httpx.HTTPError, OSError) as error:
                _log.info("the trace sink does not answer", extra={"error": type(error).__name__})
                return False
            if status >= 500 or status in WAITS_FOR_US:
                _log.info("the trace sink refuses for now", extra={"status": status})
                return False
            if status >= 400:
                _log.warning("the trace sink will not take a batch", extra={"status": status})
            self._spool.remove(file)
        return True

    def _send(self, client: httpx.Client, kind: str, batch: bytes) -> int:
        """The status of the answer; of the first refusal, where there are several requests."""
        if kind == WITHDRAWN:
            return self._withdraw(client, json.loads(batch))
        path, headers = ADDRESSES[kind]
        return client.post(f"{self._sink.host}{path}", content=batch, headers=headers).status_code

    def _withdraw(self, client: httpx.Client, scores: list[str]) -> int:
        for score in scores:
            address = f"{self._sink.host}{ADDRESSES[SCORES][0]}/{quote(score, safe='')}"
            status = client.delete(address).status_code
            if status >= 400 and status != GONE:
                return status
        return 200
