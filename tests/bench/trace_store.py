"""The trace store as a process of its own: `python -m tests.bench.trace_store [--only ingest] [--spans N]`.

Parts: `ingest` (spans a second, from two clients that export gzipped protobuf over HTTP), `reads` (an export
and the answer that shows it, one after the other), `memory` (resident bytes before anything came and after),
`large` (lists, filters, opening and lineage with `--large` spans in the file). Prints a Markdown table; exit
code 1 where a pass line is not met. Run it on a quiet machine with two cores.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil

from tests.bench.lines import Line, least, most, quantile, show, told
from tests.bench.trace_load import KINDS, START, adapter, batches
from tests.contracts.langfuse_server import trace_server

EXPORT, OBSERVATIONS = "/api/public/otel/v1/traces", "/api/public/v2/observations"
HEADERS = {"content-type": "application/x-protobuf", "content-encoding": "gzip"}
TOGETHER = 125
"""Traces of an export: 500 spans, the SDK's own batch."""
CLIENTS = 2
PER_SECOND, READ_MS, IDLE_MB, LIST_MS, LINEAGE_MS = 5000, 100, 200, 200, 1000
PARTS = ("ingest", "reads", "memory", "large")


@dataclass(frozen=True)
class Process:
    """A store that was just started on an empty folder."""

    client: httpx.Client
    process: psutil.Process

    @property
    def megabytes(self) -> float:
        return self.process.memory_info().rss / 2**20

    def send(self, batch: bytes) -> None:
        while self.client.post(EXPORT, content=batch, headers=HEADERS).status_code == 503:
            time.sleep(0.05)

    def get(self, path: str, **params: str) -> list[object]:
        """The data of an answer."""
        answer = self.client.get(path, params=params)
        answer.raise_for_status()
        data: list[object] = answer.json()["data"]
        return data


@contextmanager
def store() -> Iterator[Process]:
    with tempfile.TemporaryDirectory(prefix="loopyard-bench-") as folder:
        before = {child.pid for child in psutil.Process(os.getpid()).children()}
        with trace_server(Path(folder)) as server:
            (process,) = [p for p in psutil.Process(os.getpid()).children() if p.pid not in before]
            auth = (server.public_key, server.secret_key)
            with httpx.Client(base_url=server.host, auth=auth, timeout=120, trust_env=False) as client:
                yield Process(client, process)


def fill(found: Process, loads: Sequence[bytes] | Iterator[bytes]) -> None:
    """Sends exports from CLIENTS clients at once. Few are made ahead: a million spans need no memory here."""
    with ThreadPoolExecutor(CLIENTS) as clients:
        running = []
        for load in loads:
            running.append(clients.submit(found.send, load))
            if len(running) > 4 * CLIENTS:
                running.pop(0).result()
        for one in running:
            one.result()


def ingest(spans: int) -> list[Line]:
    """All exports are made before the clock starts."""
    loads = list(batches(spans // len(KINDS), TOGETHER))
    with store() as found:
        began = time.perf_counter()
        fill(found, loads)
        rate = spans / (time.perf_counter() - began)
        size = sum(map(len, loads)) / spans
    return [told("bytes of a span on the wire", size), least("spans a second", rate, PER_SECOND)]


def reads(rounds: int) -> list[Line]:
    """The time from sending spans until they are shown."""
    times = []
    with store() as found:
        for load in batches(rounds, 1):
            began = time.perf_counter()
            found.send(load)
            if len(found.get(OBSERVATIONS, limit=str(len(KINDS)), fields="core,basic,io")) != len(KINDS):
                raise RuntimeError("what was acknowledged is not there")
            times.append((time.perf_counter() - began) * 1000)
    return [
        told("written and read, median", quantile(times, 0.5), "ms", 1),
        most("written and read, p95", quantile(times, 0.95), READ_MS, "ms", 1),
    ]


def memory(spans: int) -> list[Line]:
    with store() as found:
        found.get(OBSERVATIONS)
        idle = found.megabytes
        fill(found, batches(spans // len(KINDS), TOGETHER))
        busy = found.megabytes
    return [
        most("resident when idle", idle, IDLE_MB, "MB"),
        told(f"resident after {spans} spans", busy, "MB"),
    ]


def large(spans: int, rounds: int) -> list[Line]:
    """Every question is asked `rounds` times; the slowest answer counts."""
    traces = spans // len(KINDS)
    with store() as found:
        began = time.perf_counter()
        fill(found, batches(traces, TOGETHER))
        lines = [told(f"spans a second until there are {spans}", spans / (time.perf_counter() - began))]
        (one,) = found.get(OBSERVATIONS, fromStartTime=_at(traces // 2), limit="1")
        trace = str(one["traceId"])  # type: ignore[index]
        for what, path, params, limit in questions(traces, trace):
            times = []
            for _ in range(rounds):
                began = time.perf_counter()
                answer = found.client.get(path, params=params)
                times.append((time.perf_counter() - began) * 1000)
                answer.raise_for_status()
            lines.append(most(what, max(times), limit, "ms", 1))
        lines.append(told("resident", found.megabytes, "MB"))
    return lines


def questions(traces: int, trace: str) -> list[tuple[str, str, dict[str, str], float]]:
    """Name, path, parameters and pass line of what is asked."""
    api = "/api/public"
    rare = [{"type": "string", "column": "level", "operator": "=", "value": "ERROR"}]
    mixed = [
        {"type": "string", "column": "userId", "operator": "=", "value": "user-7"},
        {"type": "string", "column": "type", "operator": "=", "value": "GENERATION"},
    ]
    late = {"fromStartTime": _at(traces // 3), "toStartTime": _at(traces // 2)}
    asked: list[tuple[str, str, dict[str, str], float]] = [
        ("list observations", OBSERVATIONS, {"fields": "core,basic,io,usage"}, LIST_MS),
        ("list roots", OBSERVATIONS, {"isRootObservation": "true"}, LIST_MS),
        ("list between two times", OBSERVATIONS, late, LIST_MS),
        ("of a type", OBSERVATIONS, {"type": "GENERATION"}, LIST_MS),
        ("of a user", OBSERVATIONS, {"userId": "user-7"}, LIST_MS),
        ("of a session", OBSERVATIONS, {"sessionId": "session-7"}, LIST_MS),
        ("of a user and a type", OBSERVATIONS, {"filter": json.dumps(mixed)}, LIST_MS),
        ("errors, of which there are none", OBSERVATIONS, {"filter": json.dumps(rare)}, LIST_MS),
        ("open a trace, SDK 5", OBSERVATIONS, {"traceId": trace, "fields": "core,io,metadata"}, LIST_MS),
        ("open a trace, SDK 3 and 4", f"{api}/traces/{trace}", {}, LIST_MS),
        ("list traces by number", f"{api}/traces", {}, LIST_MS),
        ("list sessions", f"{api}/sessions", {}, LIST_MS),
        ("all traces of an adapter", f"{api}/lineage", {"adapterVersion": adapter(3)}, LINEAGE_MS),
        ("all adapters of a user", f"{api}/lineage", {"userId": "user-7"}, LINEAGE_MS),
    ]
    return asked


def _at(number: int) -> str:
    """When a trace of the load begins."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(START + number))


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.trace_store")
    parser.add_argument("--only", choices=PARTS, action="append", help="a part; may be repeated")
    parser.add_argument("--spans", type=int, default=100_000, help="of the parts ingest and memory")
    parser.add_argument("--large", type=int, default=1_000_000, help="spans of the part large")
    parser.add_argument("--rounds", type=int, default=20, help="repetitions of each question")
    options = parser.parse_args(argv)
    parts = {
        "ingest": lambda: ingest(options.spans),
        "reads": lambda: reads(options.rounds * 10),
        "memory": lambda: memory(options.spans),
        "large": lambda: large(options.large, options.rounds),
    }
    return show([line for name in options.only or PARTS for line in parts[name]()])


if __name__ == "__main__":
    sys.exit(main())
