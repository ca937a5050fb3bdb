"""The gateway dies while it delivers: the next one delivers the rest, and nothing is there twice."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from graphs.spool import Courier, Sink, Spool
from tests.gateway.service import until
from tests.gateway.traces.conftest import TraceStore

ROOT = Path(__file__).resolve().parents[3]
COUNT = 300
# Spans and scores in turns, each as a batch of its own; says which of them are safe on disk.
CHILD = """
import json, sys, time
from pathlib import Path
from graphs.spool import SCORES, Courier, Sink, Spool
from tests.gateway.traces.conftest import batch

folder, url, public, secret, count = sys.argv[1:]
spool = Spool(Path(folder))
courier = Courier(spool, Sink(url, public, secret))
courier.start()
for n in range(1, int(count) + 1):
    span = {"trace": f"{n:032x}", "id": f"{n:016x}", "start": 1_790_000_000 + n}
    spool.put(batch(span).SerializeToString())
    score = {"id": f"s{n}", "name": "n", "value": n, "traceId": f"{n:032x}"}
    spool.put(json.dumps([score]).encode(), SCORES)
    courier.wake()
    print(n, flush=True)
time.sleep(600)
"""


async def all_of(store: TraceStore, path: str) -> list[str]:
    """The ids, the oldest first, over all pages."""
    found: list[str] = []
    cursor: str | None = None
    while True:
        params: dict[str, Any] = {"limit": 100} | ({"cursor": cursor} if cursor else {})
        page = (await store.client.get(f"/api/public/{path}", params=params)).json()
        found += [entry["id"] for entry in page["data"]]
        if not (cursor := page["meta"].get("cursor")):
            return found[::-1]


@pytest.mark.timeout(300)
async def test_what_was_spooled_arrives_once_although_the_process_is_killed(store: TraceStore) -> None:
    folder = store.data / "spool"
    arguments = [str(folder), store.url, store.key.public, store.key.secret, str(COUNT)]
    command = [sys.executable, "-c", CHILD, *arguments]
    child = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)  # noqa: ASYNC220 - at once
    with child:
        try:

            async def some() -> bool:
                assert child.poll() is None
                return len(await all_of(store, "v3/scores")) >= 5

            await until(some, 110)
        finally:
            child.send_signal(signal.SIGKILL)
        assert child.stdout
        safe = [int(line) for line in child.stdout.read().split()]
    assert safe
    spool = Spool(folder)
    courier = Courier(spool, Sink(store.url, store.key.public, store.key.secret))
    courier.start()
    courier.wake()

    async def empty() -> bool:
        return not spool.waiting()

    await until(empty, 110)
    await asyncio.to_thread(courier.close)
    spans, scores = await all_of(store, "v2/observations"), await all_of(store, "v3/scores")
    assert len(spans) == len(set(spans))
    assert set(spans) >= {f"{n:016x}" for n in safe}
    assert len(scores) == len(set(scores))
    # A score's time is that of its arrival: they came in the order in which they were given.
    assert scores == [f"s{n}" for n in range(1, len(scores) + 1)]
    assert len(scores) >= len(safe)
