"""What adapters cost in time: loading, swapping, the first token, and what two groups do to each other."""

import asyncio
import random
import statistics
import time
from pathlib import Path

from rich.progress import track

from tests.bench.adapters import NAMES, Service
from tests.bench.answers import Answer
from tests.bench.lines import Line, most, quantile, told

MS = 1e3
A, B = NAMES[:2]
WORDS = ["orders", "leave", "travel", "stock", "price", "books", "rivers", "trains", "clouds", "cats"]


def text(rng: random.Random, words: int) -> str:
    """A prompt that no other begins with."""
    return f"{rng.getrandbits(64):x} " + " ".join(rng.choices(WORDS, k=words))


async def loading(service: Service, count: int) -> list[Line]:
    """Cold loads, each of a content that the server has never seen, on an idle server."""
    await service.load("warm", service.files.peft(10_000))
    await service.unload("warm")
    peft = await _loads(service, [service.files.peft(10_001 + n) for n in range(count)], "PEFT folders")
    files = [service.files.gguf(20_000 + n) for n in track(range(count), "making GGUF files")]
    gguf = await _loads(service, files, "GGUF files")
    return [
        most("cold PEFT folder until ready, p95", quantile(peft, 0.95) * MS, 500, "ms"),
        most("cold GGUF LoRA until ready, p95", quantile(gguf, 0.95) * MS, 150, "ms"),
    ]


async def _loads(service: Service, paths: list[Path], what: str) -> list[float]:
    seconds = []
    for path in track(paths, f"loading {what}"):
        seconds.append((await service.load("cold", path, activate=True))[0])
        await service.unload("cold")
    return seconds


async def swapping(service: Service, count: int) -> list[Line]:
    """First tokens of warm prompts: after a request of the same adapter, and after one of another."""
    rng = random.Random(1)
    prompt = text(rng, 30)
    for name in (A, B):
        await service.sure(name, prompt, 1)
    step = statistics.mean((await service.sure(A, prompt, 200)).gaps)
    same: list[float] = []
    other: list[float] = []
    for turn in track(range(count), "swapping"):
        for name, found in ((NAMES[turn % 2], other), (NAMES[turn % 2], same)):
            found.append((await service.sure(name, prompt, 1)).first)
    swap = quantile(other, 0.95) - quantile(same, 0.95)
    return [
        told("a step of one stream", step * MS, "ms", 1),
        told("warm first token after the same adapter, p95", quantile(same, 0.95) * MS, "ms", 1),
        most("what another adapter before it adds, p95", swap * MS, step * MS + 5, "ms", 1),
    ]


async def first_token(service: Service, count: int, words: int) -> list[Line]:
    """A prompt that is new, the same again, the same under B (new there), and under A once more."""
    rng = random.Random(2)
    times: tuple[list[float], ...] = ([], [], [], [])
    cold, warm, other, back = times
    forgotten = 0
    for _ in track(range(count), "first tokens"):
        prompt = text(rng, words)
        answers = [await service.sure(name, prompt, 1) for name in (A, A, B, A)]
        for found, answer in zip(times, answers, strict=True):
            found.append(answer.first)
        # Two prompts may begin with the same few words.
        reused = [answer.cached > words // 2 for answer in answers]
        forgotten += reused != [False, True, False, True]
    ratios = [statistics.median(b / a for a, b in zip(cold, found, strict=True)) for found in (warm, back)]
    return [
        told("cold first token, median", statistics.median(cold) * MS, "ms", 1),
        told("the same under another adapter, median", statistics.median(other) * MS, "ms", 1),
        most("warm first token to cold, median", 100 * ratios[0], 10, "%", 1),
        most("after A -> B -> A to cold, median", 100 * ratios[1], 10, "%", 1),
        most(f"rounds of {count} where the wrong prompts were cached", forgotten, 0),
    ]


async def fairness(service: Service, count: int) -> list[Line]:
    """Four and four streams of two adapters; then four of B that come while four of A run."""
    rng = random.Random(3)
    ratios, lates = [], []
    for _ in track(range(count), "fairness"):
        ratios.append(await _shares(service, rng))
        lates.append(await _lateness(service, rng))
    return [
        most("tokens of 4 + 4 streams, most to least, worst round", max(ratios), 1.3, "", 2),
        most("late group's first token beyond its prefill, worst round", max(lates) * MS, 250, "ms"),
    ]


async def _shares(service: Service, rng: random.Random) -> float:
    """Tokens of the stream with most to that with least, while all eight run."""
    names = [A] * 4 + [B] * 4
    answers = await asyncio.gather(*(service.sure(name, text(rng, 30), 300) for name in names))
    begin, end = max(each.times[0] for each in answers), min(each.times[-1] for each in answers)
    counts = [sum(begin < at <= end for at in each.times) for each in answers]
    return max(counts) / max(1, min(counts))


async def _lateness(service: Service, rng: random.Random) -> float:
    """Seconds that the slowest of four late streams waits longer than the slowest of four alone."""
    alone = await asyncio.gather(*(service.sure(B, text(rng, 100), 1) for _ in range(4)))
    running = [Answer(800) for _ in range(4)]
    tasks = [asyncio.ensure_future(service.ask(A, text(rng, 30), 800, each)) for each in running]
    await until_all_have(running, 20)
    late = await asyncio.gather(*(service.sure(B, text(rng, 100), 1) for _ in range(4)))
    if any(task.done() for task in tasks):
        raise RuntimeError("the streams that should have been in the way were through too early")
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return max(each.first for each in late) - max(each.first for each in alone)


async def until_all_have(answers: list[Answer], tokens: int) -> None:
    """Wait until each of the running answers has so many tokens. RuntimeError after two minutes."""
    deadline = time.monotonic() + 120
    while any(len(each.times) < tokens for each in answers):
        if time.monotonic() > deadline:
            raise RuntimeError(f"streams do not get on: {answers}")
        await asyncio.sleep(0.005)
