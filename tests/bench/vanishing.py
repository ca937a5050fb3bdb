"""How soon a slot is back when its client vanishes: `python -m tests.bench.vanishing [--clients 200]`.

Eight streams hold all slots and one more request waits. One of the eight closes its connection at a random
moment: measured is the time until the first token of the request that waited. The same request is asked
once more when there is a slot to spare: what the first one took longer is how long the slot was not back,
and that may be the step that ran. The starter (q8_0) in a serving process; Markdown table, exit code 1
where a pass line is not met.
"""

import argparse
import asyncio
import random
import statistics
import sys
import tempfile
import time
from pathlib import Path

import httpx
from rich.progress import track

from tests.bench.adapter_times import text, until_all_have
from tests.bench.answers import Answer, ask
from tests.bench.lines import Line, most, quantile, show, told
from tests.bench.server import Server, serving

SLOTS = 8
TOKENS = 900
SLACK = 1.0
"""Milliseconds for closing a connection and noticing it."""


async def measure(server: Server, options: argparse.Namespace) -> list[Line]:
    """One round for each client that vanishes."""
    rng = random.Random(7)
    limits = httpx.Limits(max_connections=None)
    back, spare, steps = [], [], []
    async with httpx.AsyncClient(base_url=server.url, timeout=120, limits=limits, trust_env=False) as client:
        model = str((await client.get("/v1/models")).json()["data"][0]["id"])
        short = text(rng, 20)
        await ask(client, model, short, 1)
        for _ in track(range(options.clients), "vanishing"):
            waited, free, gaps = await _round(client, model, short, rng)
            back.append(waited * 1e3)
            spare.append(free * 1e3)
            steps += gaps
    step = statistics.median(steps) * 1e3
    longer = {q: quantile(back, q) - quantile(spare, q) for q in (0.5, 0.95)}
    return [
        told("a step of eight streams, median", step, "ms", 1),
        told("from leaving to the waiting request's first token, median", statistics.median(back), "ms", 1),
        told("the same request with a slot to spare, median", statistics.median(spare), "ms", 1),
        most("longer, median: a step", longer[0.5], step + SLACK, "ms", 1),
        most("longer, p95: a step", longer[0.95], quantile(steps, 0.95) * 1e3 + SLACK, "ms", 1),
        most("slots and queue still held at the end", server.held(), 0),
    ]


async def _round(
    client: httpx.AsyncClient, model: str, short: str, rng: random.Random
) -> tuple[float, float, list[float]]:
    """Seconds from the leaving to the waiting request's first token; those of the same request when nobody
    has to leave for it; gaps between the streams' tokens.
    """
    answers = [Answer(TOKENS) for _ in range(SLOTS)]
    tasks = [asyncio.ensure_future(ask(client, model, text(rng, 10), TOKENS, answer)) for answer in answers]
    await until_all_have(answers, rng.randint(1, 30))
    waits = asyncio.ensure_future(ask(client, model, short, 1))
    await asyncio.sleep(rng.uniform(0.01, 0.05))
    if waits.done() or any(task.done() for task in tasks):
        raise RuntimeError("there was a slot to spare")
    gone = rng.randrange(SLOTS)
    left = time.perf_counter()
    tasks[gone].cancel()
    waited = (await waits).times[0] - left
    await asyncio.sleep(rng.uniform(0.01, 0.05))
    free = (await ask(client, model, short, 1)).first
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return waited, free, [gap for answer in answers for gap in answer.gaps]


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--clients", type=int, default=200)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="loopyard-bench-") as scratch:
        settings = {"model": "starter", "threads": options.threads, "slots": SLOTS, "context": 1024}
        with serving(Path(scratch), **settings) as server:
            return show(asyncio.run(measure(server, options)))


if __name__ == "__main__":
    sys.exit(main())
