"""Adapters under load: `python -m tests.bench.adapter_life [--interleavings 2000] [--operations 200]`.

On the starter model (q8_0), in this process, on llama.cpp: what a swap costs a step, how long loading takes,
what loads, promotions and unloads do to the gaps between tokens of eight streams, whether two adapters share
fairly, and whether any row is ever nearer to another adapter's answer than to its own. Prints a Markdown
table with the pass lines; exit code 1 where correctness fails. Run it on a quiet machine.
"""

import argparse
import itertools
import math
import random
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from llm_server.adapters.llama_form import LlamaForm
from llm_server.adapters.manager import AdapterManager
from llm_server.adapters.selection import Selection, wanted_by_name
from llm_server.backends.llama_cpp import LlamaBackend, LlamaOptions
from llm_server.convert.prepare import prepare_chat
from llm_server.engine.engine import Engine, Limits
from llm_server.engine.sampling import SamplingParams
from llm_server.engine.sequence import Failed, TokenScore
from llm_server.settings import STARTER
from tests.llm_server.adapters.making import STARTER as SIZES
from tests.llm_server.adapters.making import make_adapter
from tests.llm_server.running import Run, say, start

Row = tuple[str, str, str]
NAMES = [f"adapter-{n}" for n in range(8)]
TEXTS = [f"Tell me about {thing} in the shop and in the office." for thing in ("orders", "leave", "travel")]


class Bench:
    """An engine with a manager, and a folder for adapters."""

    def __init__(self, folder: Path, threads: int) -> None:
        prepared = prepare_chat(STARTER, folder, "q8_0")
        self.folder = folder
        backend = LlamaBackend(prepared.path, LlamaOptions(running=8, threads=threads, context=1024))
        ends = dict.fromkeys(backend.vocabulary.ends, -math.inf)
        self._params = SamplingParams(temperature=0, logit_bias=ends)
        self.engine = Engine(backend, Limits(running=8))
        self.engine.start()
        form = LlamaForm(backend, prepared.path, prepared.folder)
        self.manager = AdapterManager(self.engine, form, folder / "adapters")

    def adapter(self, seed: int) -> Path:
        """A PEFT folder with random matrices of rank 16."""
        return make_adapter(self.folder / f"peft-{seed}", seed, rank=16, sizes=SIZES, size=0.1)

    def load(self, name: str, path: Path, activate: bool = False) -> float:
        """Seconds until it is ready."""
        began = time.perf_counter()
        self.manager.load(name, path, activate=activate)[1].result()
        return time.perf_counter() - began

    def run(self, text: str, name: str = "", tokens: int = 32) -> Run:
        """Begin a sequence; tokens come with their log probabilities."""
        selection = Selection(self.manager, [wanted_by_name(name)] if name else [])
        return start(
            self.engine, say(text), params=self._params, max_tokens=tokens, selection=selection, logprobs=0
        )

    def close(self) -> None:
        """End everything."""
        self.manager.close()
        self.engine.close()


def gaps(run: Run) -> list[float]:
    """Seconds between the tokens of a sequence, as they arrive."""
    times: list[float] = []
    while run.end is None:
        before = len(run.scores)
        run.step()
        if len(run.scores) > before:
            times.append(time.perf_counter())
    return [b - a for a, b in itertools.pairwise(times)]


def loading(bench: Bench, count: int) -> list[Row]:
    """Cold loads: a PEFT folder once the converter is warm, and a GGUF file."""
    bench.load("warm", bench.adapter(1000))
    peft = [bench.load(f"peft-{n}", bench.adapter(1001 + n)) for n in range(count)]
    copies = []
    for n in range(count):
        file = bench.manager.store.find(f"peft-{n}").file
        copies.append(bench.folder / f"copy-{n}.gguf")
        copies[n].write_bytes(file.read_bytes() if file else b"")
        bench.manager.unload(f"peft-{n}")
    time.sleep(1)
    gguf = [bench.load(f"gguf-{n}", copy) for n, copy in enumerate(copies)]
    return [
        ("PEFT folder, p95", f"{p95(peft) * 1e3:.0f} ms", "500 ms"),
        ("GGUF LoRA, p95", f"{p95(gguf) * 1e3:.0f} ms", "150 ms"),
    ]


def swapping(bench: Bench) -> list[Row]:
    """The gap of one stream alone, and of two that take turns with two adapters."""
    for seed, name in enumerate(NAMES):
        bench.load(name, bench.adapter(seed))
    alone = statistics.mean(gaps(bench.run(TEXTS[0], NAMES[0], 200)))
    two = [bench.run(text, name, 200) for text, name in zip(TEXTS, NAMES[:2], strict=False)]
    together = statistics.mean(statistics.mean(each) for each in both(two, gaps))
    # Eight steps and two swaps give each of the two four tokens.
    swap = 2 * (together - 2 * alone)
    return [
        ("a step of one stream", f"{alone * 1e3:.1f} ms", ""),
        ("swap of resident adapters, on top of the step", f"{swap * 1e3:.1f} ms", "5 ms"),
    ]


def both(runs: Sequence[Run], read: Callable[[Run], list[float]]) -> list[list[float]]:
    """Read several at once."""
    out: list[list[float]] = [[] for _ in runs]

    def one(n: int) -> None:
        out[n] = read(runs[n])

    threads = [threading.Thread(target=one, args=(n,)) for n in range(len(runs))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return out


def fairness(bench: Bench) -> list[Row]:
    """Four and four streams of two adapters for a while."""
    runs = [bench.run(f"{TEXTS[n % 3]} {n}", NAMES[n % 2], 300) for n in range(8)]
    while not all(run.sequence.generated for run in runs):
        time.sleep(0.01)
    before = [run.sequence.generated for run in runs]
    time.sleep(1.5)
    counts = [run.sequence.generated - start for run, start in zip(runs, before, strict=True)]
    for run in runs:
        bench.engine.cancel(run.sequence)
        run.wait()
    ratio = max(counts) / max(1, min(counts))
    return [("tokens of 4 + 4 streams, most to least", f"{ratio:.2f}", "1.3")]


def streams(bench: Bench, operations: int) -> tuple[list[Row], bool]:
    """Gaps of eight streams without and with loads, promotions and unloads."""
    quiet, lost = _phase(bench, lambda: time.sleep(15))
    before = bench.engine.load

    def work() -> None:
        rng = random.Random(1)
        paths = [bench.adapter(2000 + n) for n in range(6)]
        for n in range(operations):
            name = rng.choice(NAMES)
            current = bench.manager.store.find(name)
            bench.load(name, rng.choice(paths), activate=True)
            if n % 2 and bench.manager.store.find(name) is not current:
                bench.manager.unload(name, current.id)

    busy, more = _phase(bench, work)
    ratio = quantile(busy, 0.999) / quantile(quiet, 0.999)
    rows = [
        (f"streams cut by {operations} loads, promotions, unloads", str(lost + more), "0"),
        ("p99.9 of the gap between tokens, with to without", f"{ratio:.2f}", "2"),
    ]
    return rows, lost + more + before == 0


def _phase(bench: Bench, work: Callable[[], None]) -> tuple[list[float], int]:
    stop, seen, lost = threading.Event(), [], []

    def client(number: int) -> None:
        rng = random.Random(number)
        while not stop.is_set():
            run = bench.run(rng.choice(TEXTS), rng.choice(NAMES[:2]), rng.randint(20, 80))
            seen.extend(gaps(run))
            if isinstance(run.end, Failed):
                lost.append(run.end.error)

    threads = [threading.Thread(target=client, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    work()
    stop.set()
    for thread in threads:
        thread.join()
    return seen, len(lost)


def contamination(bench: Bench, count: int) -> tuple[list[Row], bool]:
    """Rows under random adapters, prefixes shared on purpose, against each adapter alone."""
    rng = random.Random(2)
    names = [*NAMES, ""]
    alone = {(name, text): bench.run(text, name, 8).wait().scores for name in names for text in TEXTS}
    wrong = reused = eligible = 0
    done = 0
    while done < count:
        batch = [(rng.choice(names), rng.choice(TEXTS)) for _ in range(16)]
        runs = [bench.run(text, name, 8) for name, text in batch]
        for (name, text), run in zip(batch, runs, strict=True):
            said = run.wait().scores
            distance = {other: _distance(said, alone[other, text]) for other in names}
            wrong += min(distance, key=lambda other: distance[other]) != name
            eligible += run.sequence.prompt_length - 1
            reused += run.sequence.reused
            done += 1
    rows = [
        (f"rows of {done} nearer to another adapter", str(wrong), "0"),
        ("eligible prefix tokens reused", f"{reused / eligible:.0%}", "90 %"),
    ]
    return rows, wrong == 0


def _distance(some: Sequence[TokenScore], others: Sequence[TokenScore]) -> float:
    """Mean distance of log probabilities up to the first token that differs, which counts ten."""
    total, count = 0.0, 0
    for a, b in zip(some, others, strict=False):
        count += 1
        if a.token != b.token:
            total += 10.0
            break
        total += abs(a.logprob - b.logprob)
    return total / max(1, count)


def p95(values: list[float]) -> float:
    """The 95th percentile."""
    return quantile(values, 0.95)


def quantile(values: list[float], share: float) -> float:
    """A value that `share` of the others do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--loads", type=int, default=20)
    parser.add_argument("--operations", type=int, default=200)
    parser.add_argument("--interleavings", type=int, default=2000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        bench = Bench(Path(scratch), options.threads)
        rows = [*loading(bench, options.loads), *swapping(bench), *fairness(bench)]
        apart, clean = contamination(bench, options.interleavings)
        through, whole = streams(bench, options.operations)
        bench.close()
    table = ["| what | measured | pass line |", "|---|---|---|"]
    table += [f"| {what} | {measured} | {line} |" for what, measured, line in rows + apart + through]
    sys.stdout.write("\n".join(table) + "\n")
    return 0 if clean and whole else 1


if __name__ == "__main__":
    sys.exit(main())
