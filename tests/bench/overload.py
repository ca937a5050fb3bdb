"""Ten times what the server can do: `python -m tests.bench.overload [--seconds 120]`.

First the peak: as many clients as keep every slot busy, each asking again when it is answered. Then requests
arrive at ten times that rate whether or not the others are answered, and nobody tries again. What is too
much has to be refused with 429 and Retry-After, and what is taken has to be answered as fast as before,
without memory that grows. The starter (q8_0) in a serving process; Markdown table, exit code 1 where a pass
line is not met. Client and server share the machine, so leave the client a core.
"""

import argparse
import asyncio
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
from rich.progress import Progress

from tests.bench.adapter_times import text
from tests.bench.lines import Line, least, most, quantile, show, told
from tests.bench.server import Server, serving

SLOTS = 8
KEPT_OUT = "429 without Retry-After"


@dataclass(slots=True)
class Seen:
    """What became of the requests of some time."""

    tokens: int
    """That every answer has to have."""
    began: float = field(default_factory=time.perf_counter)
    statuses: Counter[str] = field(default_factory=Counter)
    sent: int = 0
    refusals: list[float] = field(default_factory=list)
    """Seconds until a 429."""
    whole: list[float] = field(default_factory=list)
    """When each answer was there, in seconds since `began`."""

    def goodput(self, seconds: float) -> float:
        """Tokens a second of whole answers within the first `seconds`."""
        return sum(at <= seconds for at in self.whole) * self.tokens / seconds


async def ask(client: httpx.AsyncClient, model: str, rng: random.Random, words: int, seen: Seen) -> None:
    """One completion with a prompt that no other has."""
    body = {"model": model, "prompt": text(rng, words), "max_tokens": seen.tokens, "ignore_eos": True}
    began = time.perf_counter()
    seen.sent += 1
    try:
        answer = await client.post("/v1/completions", json=body)
    except httpx.TransportError as error:
        seen.statuses[type(error).__name__] += 1
        return
    if answer.status_code == 200 and answer.json()["usage"]["completion_tokens"] == seen.tokens:
        seen.whole.append(time.perf_counter() - seen.began)
    if answer.status_code == 429:
        seen.refusals.append(time.perf_counter() - began)
        if "retry-after" not in answer.headers:
            seen.statuses[KEPT_OUT] += 1
            return
    seen.statuses[str(answer.status_code)] += 1


async def peak(
    client: httpx.AsyncClient, model: str, options: argparse.Namespace, rng: random.Random
) -> Seen:
    """Twice as many clients as slots, so that no slot ever waits for a client."""
    seen = Seen(options.tokens)

    async def one() -> None:
        while time.perf_counter() - seen.began < options.peak_seconds:
            await ask(client, model, rng, options.words, seen)

    await asyncio.gather(*(one() for _ in range(2 * SLOTS)))
    return seen


async def flood(
    client: httpx.AsyncClient, model: str, options: argparse.Namespace, rng: random.Random, rate: float
) -> Seen:
    """Requests at a rate a second, answered or not; ends when the last one is answered."""
    seen = Seen(options.tokens)
    tasks: list[asyncio.Future[None]] = []
    with Progress() as progress:
        bar = progress.add_task("overload", total=options.seconds)
        while (now := time.perf_counter() - seen.began) < options.seconds:
            progress.update(bar, completed=now)
            while len(tasks) < now * rate:
                tasks.append(asyncio.ensure_future(ask(client, model, rng, options.words, seen)))
            await asyncio.sleep(max(0.001, len(tasks) / rate - now))
        progress.update(bar, completed=options.seconds)
    await asyncio.gather(*tasks)
    return seen


@asynccontextmanager
async def memory(server: Server) -> AsyncIterator[list[tuple[float, int]]]:
    """(seconds, resident bytes), every second."""
    samples: list[tuple[float, int]] = []
    began = time.perf_counter()

    async def sample() -> None:
        while True:
            samples.append((time.perf_counter() - began, server.memory))
            await asyncio.sleep(1)

    sampling = asyncio.ensure_future(sample())
    yield samples
    sampling.cancel()


async def measure(server: Server, options: argparse.Namespace) -> list[Line]:
    """Peak, then overload."""
    rng = random.Random(6)
    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(base_url=server.url, timeout=300, limits=limits, trust_env=False) as client:
        model = str((await client.get("/v1/models")).json()["data"][0]["id"])
        best = await peak(client, model, options, rng)
        top = best.goodput(options.peak_seconds)
        async with memory(server) as samples:
            seen = await flood(client, model, options, rng, options.times * top / options.tokens)
        after = Seen(options.tokens)
        await ask(client, model, rng, options.words, after)
    offered = seen.sent * options.tokens / options.seconds / top
    others = sum(count for status, count in seen.statuses.items() if status not in ("200", "429"))
    print(dict(best.statuses), dict(seen.statuses))
    return [
        told("peak goodput", top, "tokens/s"),
        least("offered, times the peak", offered, 0.95 * options.times, "", 1),
        told("answered with 200", seen.statuses["200"]),
        least("answered with 429 and Retry-After", seen.statuses["429"], 1),
        most("answered with anything else, or not whole", others + seen.statuses["200"] - len(seen.whole), 0),
        told("until a 429, p95", quantile(seen.refusals, 0.95) * 1e3, "ms"),
        least("goodput to peak", 100 * seen.goodput(options.seconds) / top, 90, "%", 1),
        *_growth(samples, options.seconds),
        least("a request afterwards is answered", len(after.whole), 1),
        most("slots and queue still held at the end", server.held(), 0),
    ]


def _growth(samples: list[tuple[float, int]], seconds: float) -> list[Line]:
    """From the end of the first minute (or half) to the most that comes after it."""
    half = min(60.0, seconds / 2)
    before = [memory for at, memory in samples if at <= half]
    later = [memory for at, memory in samples if half < at <= seconds]
    growth = 100 * (max(later) / before[-1] - 1)
    return [
        told("memory after the first minute", before[-1] / 2**20, "MB"),
        most("growth after it", growth, 5, "%", 1),
    ]


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="starter")
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--peak-seconds", type=float, default=30)
    parser.add_argument("--times", type=float, default=10, help="the peak")
    parser.add_argument("--tokens", type=int, default=256, help="of each answer")
    parser.add_argument("--words", type=int, default=40, help="of each prompt")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="loopyard-bench-") as scratch:
        settings = {"model": options.model, "threads": options.threads, "slots": SLOTS, "context": 1024}
        with serving(Path(scratch), **settings) as server:
            return show(asyncio.run(measure(server, options)))


if __name__ == "__main__":
    sys.exit(main())
