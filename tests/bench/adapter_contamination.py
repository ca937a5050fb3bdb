"""Does any row ever answer from another adapter, and is the cache still of use?

Isolated answers come from servers that have one adapter each, or none, and are asked one thing at a time. A
row is told by its log-probabilities: it belongs to the adapter whose isolated answer is nearest.
"""

import asyncio
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.progress import track

from tests.bench.adapters import BASE, NAMES, SLOTS, Adapters, Service, service
from tests.bench.answers import Answer, Score
from tests.bench.lines import Line, least, most, told

EVERY = [*NAMES, BASE]
TOKENS = 8
VANISHING = 0.05
"""Share of rows whose client leaves after a moment."""
DIFFERENT = 10.0
"""Distance of two tokens that differ; log-probabilities of one token under two adapters differ by less."""
HEADS = ("In the shop and in the office there are many people who ask about", "The manual of the store says")
TAILS = (
    " orders that were sent back because they came too late.",
    " orders that were paid twice, and about leave in summer.",
    " travel by train, the price of a room and the days of leave that are left.",
)
TEXTS = [head + tail for head in HEADS for tail in TAILS]

Key = tuple[str, str]
"""Adapter and prompt."""


@dataclass(slots=True)
class Counts:
    """Over all rows."""

    rows: int = 0
    wrong: int = 0
    lost: int = 0
    vanished: int = 0
    eligible: int = 0
    reused: int = 0


async def isolated(files: Adapters, folder: Path, threads: int) -> dict[Key, list[Score]]:
    """What each adapter says to each prompt."""
    found: dict[Key, list[Score]] = {}
    for seed, name in enumerate(track(EVERY, "isolated answers")):
        async with service(files, folder / f"only-{name}", threads) as running:
            if name:
                await running.load(name, files.gguf(seed))
            for text in TEXTS:
                found[name, text] = (await running.sure(name, text, TOKENS)).scores
    return found


async def contamination(running: Service, alone: dict[Key, list[Score]], interleavings: int) -> list[Line]:
    """Bursts of two to eight rows at once, some of which are left by their clients."""
    rng, counts = random.Random(5), Counts()
    tokens = {text: await _tokens(running, text) for text in TEXTS}
    seen: set[Key] = set()
    for _ in track(range(interleavings), "interleavings"):
        burst = [(rng.choice(EVERY), rng.choice(TEXTS)) for _ in range(rng.randint(2, SLOTS))]
        leaving = [rng.random() < VANISHING for _ in burst]
        rows = [
            _left(running, key, rng.uniform(0.001, 0.05)) if leaves else running.ask(*key, TOKENS)
            for key, leaves in zip(burst, leaving, strict=True)
        ]
        for key, answer in zip(burst, await asyncio.gather(*rows), strict=True):
            _count(counts, key, answer, alone, _common(tokens, seen, key))
        seen |= {key for key, leaves in zip(burst, leaving, strict=True) if not leaves}
    share = 100 * counts.reused / max(1, counts.eligible)
    return [
        told(f"rows compared in {interleavings} interleavings", counts.rows),
        told("rows whose client left", counts.vanished),
        most("rows lost", counts.lost, 0),
        most("rows nearer to another adapter's isolated answer", counts.wrong, 0),
        least("eligible prefix tokens reused", share, 90, "%", 1),
    ]


def _count(
    counts: Counts, key: Key, answer: Answer | None, alone: dict[Key, list[Score]], eligible: int
) -> None:
    if answer is None:
        counts.vanished += 1
        return
    if not answer.whole:
        counts.lost += 1
        print(answer)
        return
    name, text = key
    distances = {other: distance(answer.scores, alone[other, text]) for other in EVERY}
    counts.rows += 1
    counts.wrong += min(distances, key=lambda other: distances[other]) != name
    counts.eligible += eligible
    counts.reused += min(answer.cached, eligible)


async def _left(running: Service, key: Key, seconds: float) -> Answer | None:
    """None where the client was gone before the answer."""
    try:
        return await asyncio.wait_for(running.ask(*key, TOKENS), seconds)
    except TimeoutError:
        return None


async def _tokens(running: Service, text: str) -> list[int]:
    answer = await running.http.post("/v1/tokenize", json={"model": running.model, "content": text})
    return [int(token) for token in answer.raise_for_status().json()["tokens"]]


def _common(tokens: dict[str, list[int]], seen: set[Key], key: Key) -> int:
    """Tokens of a prompt that its adapter has answered before; the last one is always computed."""
    name, text = key
    mine = tokens[text]
    shared = [_leading(mine, tokens[other]) for adapter, other in seen if adapter == name]
    return min(max(shared, default=0), len(mine) - 1)


def _leading(a: Sequence[int], b: Sequence[int]) -> int:
    return next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))


def distance(some: Sequence[Score], others: Sequence[Score]) -> float:
    """Mean difference of log-probabilities up to the first token that differs."""
    total = 0.0
    for place, ((token, logprob), (other, score)) in enumerate(zip(some, others, strict=True)):
        if token != other:
            return (total + DIFFERENT) / (place + 1)
        total += abs(logprob - score)
    return total / max(1, len(some))
