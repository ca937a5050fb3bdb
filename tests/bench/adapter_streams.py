"""Eight streams while adapters are loaded, promoted and unloaded: is any cut, how long are the gaps?"""

import asyncio
import random
from collections.abc import Awaitable
from dataclasses import dataclass, field

import httpx
from rich.progress import Progress

from tests.bench.adapters import NAMES, SLOTS, Service
from tests.bench.answers import Answer
from tests.bench.lines import Line, least, most, quantile, told

TEXTS = [f"Tell me about {thing} in the shop and in the office." for thing in ("orders", "leave", "travel")]
CONTENTS = 12
"""Different adapters that come and go under each name."""
MOST_VERSIONS = 3
PATIENCE = 60
"""Seconds without a token, or without an answer to an operation, that count as a deadlock."""


@dataclass(slots=True)
class Phase:
    """What the streams of some time saw."""

    gaps: list[float] = field(default_factory=list)
    streams: int = 0
    cut: list[str] = field(default_factory=list)
    stuck: int = 0

    def take(self, answer: Answer) -> None:
        """A stream is through."""
        self.streams += 1
        self.gaps += answer.gaps
        if not answer.whole:
            self.cut.append(f"{answer.status} {answer.reason} {len(answer.times)} {answer.trouble}")


class Life:
    """Random operations on the versions of the eight names; each of them has to succeed."""

    def __init__(self, service: Service, seed: int) -> None:
        self._service, self._rng = service, random.Random(seed)
        files = service.files
        self._contents = [
            files.peft(30_000 + n) if n % 2 else files.gguf(30_000 + n) for n in range(CONTENTS)
        ]
        self._versions: dict[str, dict[int, str]] = {name: {} for name in NAMES}
        """By name: content to version."""
        self._stable: dict[str, int] = {}
        self.refused: list[str] = []

    async def begin(self) -> None:
        """A version under every name."""
        for name in NAMES:
            await self._load(name)

    async def one(self, phase: Phase) -> None:
        """A load, a promotion or an unload, whatever is possible and chance wants."""
        name = self._rng.choice(NAMES)
        there = self._versions[name]
        possible = [self._load] if len(there) < MOST_VERSIONS else []
        possible += [self._promote, self._unload] if len(there) > 1 else []
        try:
            await asyncio.wait_for(self._rng.choice(possible)(name), PATIENCE)
        except TimeoutError:
            phase.stuck += 1
        except httpx.HTTPStatusError as error:
            self.refused.append(f"{error} {error.response.text}")

    async def _load(self, name: str) -> None:
        there = self._versions[name]
        content = self._rng.choice([n for n in range(CONTENTS) if n not in there])
        _, card = await self._service.load(name, self._contents[content])
        there[content] = str(card["id"])
        self._stable.setdefault(name, content)

    async def _promote(self, name: str) -> None:
        content = self._other(name)
        await self._service.promote(name, self._versions[name][content])
        self._stable[name] = content

    async def _unload(self, name: str) -> None:
        await self._service.unload(f"{name}@{self._versions[name].pop(self._other(name))}")

    def _other(self, name: str) -> int:
        """A content that the name does not mean now."""
        return self._rng.choice([n for n in self._versions[name] if n != self._stable[name]])


async def streams(service: Service, operations: int, seconds: float) -> list[Line]:
    """Quiet, busy, quiet; the two quiet times are what the busy one is compared with."""
    life, quiet, busy = Life(service, 4), Phase(), Phase()
    await life.begin()
    with Progress() as progress:
        bar = progress.add_task("loads, promotions, unloads", total=operations)

        async def work() -> None:
            for _ in range(operations):
                await life.one(busy)
                progress.advance(bar)

        await _during(service, quiet, asyncio.sleep(seconds / 2))
        await _during(service, busy, work())
        await _during(service, quiet, asyncio.sleep(seconds / 2))
    for trouble in (*quiet.cut, *busy.cut, *life.refused)[:10]:
        print(trouble)
    calm, long = quantile(quiet.gaps, 0.999), quantile(busy.gaps, 0.999)
    return [
        told("streams during the operations", busy.streams),
        least("operations", operations - len(life.refused) - busy.stuck, operations),
        most("streams cut", len(quiet.cut) + len(busy.cut), 0),
        most("deadlocks", quiet.stuck + busy.stuck, 0),
        most("slots and queue still held at the end", service.server.held(), 0),
        told(f"p99.9 of {len(quiet.gaps)} gaps between tokens, quiet", calm * 1e3, "ms", 1),
        told(f"p99.9 of {len(busy.gaps)} gaps, busy", long * 1e3, "ms", 1),
        most("p99.9 busy to quiet", long / calm, 2, "", 2),
    ]


async def _during(service: Service, phase: Phase, work: Awaitable[None]) -> None:
    """Keep eight streams going until `work` is through, and let the last ones end."""
    stop = asyncio.Event()

    async def client(number: int) -> None:
        rng = random.Random(number)
        while not stop.is_set():
            tokens = rng.randint(20, 80)
            asking = service.ask(rng.choice(NAMES), rng.choice(TEXTS), tokens)
            try:
                phase.take(await asyncio.wait_for(asking, PATIENCE))
            except TimeoutError:
                phase.stuck += 1

    clients = [asyncio.ensure_future(client(number)) for number in range(SLOTS)]
    await work
    stop.set()
    await asyncio.gather(*clients)
