"""Decode steps of the ONNX Runtime engine beside llama.cpp's, and what adapters cost it.

`python -m tests.bench.onnx_throughput` (a random model; or `--model FOLDER`). No server and no scheduler: the
backends themselves, taking turns (A B C D D C B A ...). Exit status 1 when, in the median of the rounds,
rows without adapters are over 3 % slower once adapters are loaded, or as many adapters as rows leave less
than 70 % of the plain graph's speed.
"""

import argparse
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from llm_server.backends.llama_cpp import LlamaBackend, LlamaOptions
from llm_server.backends.onnx import OnnxBackend, OnnxOptions
from llm_server.convert.onnx_adapter import convert_adapter
from llm_server.convert.prepare import prepare_chat, prepare_onnx_chat
from llm_server.engine.backend import Backend, Chunk
from llm_server.engine.blend import BASE, Blend, blend
from tests.llm_server.onnx_models import EVERYTHING, make_peft
from tests.llm_server.tiny import Sizes, make_tiny

ROWS = (1, 8)
PROMPT = 128
SLOWER = 1.03
KEPT = 0.7
ALONE, BESIDE = "onnx", "onnx, adapters loaded"


@dataclass(frozen=True)
class Contestant:
    """A backend and the adapters of its rows."""

    name: str
    backend: Backend
    blends: list[Blend]


def measure(one: Contestant, rows: int, tokens: int) -> tuple[float, float]:
    """Seconds of clock and of processor for a token, after prompts that are not measured."""
    for slot in range(rows):
        one.backend.trim(slot, 0)
        one.backend.decode([Chunk(slot, 0, range(PROMPT), False, one.blends[slot % len(one.blends)])])
    began, used = time.perf_counter(), time.process_time()
    for step in range(tokens):
        one.backend.decode(
            [
                Chunk(slot, PROMPT + step, [step + slot], True, one.blends[slot % len(one.blends)])
                for slot in range(rows)
            ]
        )
    count = tokens * rows
    return (time.perf_counter() - began) / count, (time.process_time() - used) / count


def contestants(source: Path, data: Path, arguments: argparse.Namespace) -> list[Contestant]:
    """llama.cpp, the plain graph, the same with adapters in memory, and a row for every adapter."""
    gguf = prepare_chat(str(source), data, arguments.quantisation, print).path
    folder = prepare_onnx_chat(str(source), data, arguments.precision, print).path
    options = OnnxOptions(threads=arguments.threads, context=1024)
    plain, loaded = OnnxBackend(folder, options), OnnxBackend(folder, options)
    own = []
    for seed in range(max(ROWS)):
        peft = make_peft(
            data / f"peft-{seed}", loaded.manifest, rank=arguments.rank, modules=EVERYTHING, seed=seed
        )
        file = convert_adapter(peft, loaded.manifest, data / f"{seed}.safetensors")
        own.append(blend([(loaded.load_adapter(file), 1.0)]))
    llama = LlamaBackend(gguf, LlamaOptions(threads=arguments.threads, context=1024))
    return [
        Contestant(f"llama.cpp {arguments.quantisation}", llama, [BASE]),
        Contestant(ALONE, plain, [BASE]),
        Contestant(BESIDE, loaded, [BASE]),
        Contestant("onnx, one adapter", loaded, own[:1]),
        Contestant(f"onnx, {len(own)} adapters", loaded, own),
    ]


def main() -> int:
    """Print a table a number of rows; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, help="A transformers folder.")
    parser.add_argument("--layers", type=int, default=8, help="Of the random model.")
    parser.add_argument("--precision", default="int8")
    parser.add_argument("--quantisation", default="q8_0")
    parser.add_argument("--rank", type=int, default=16)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--tokens", type=int, default=64)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        sizes = Sizes(hidden=512, feed_forward=2048, layers=arguments.layers, heads=8, kv_heads=4, width=64)
        source = arguments.model or make_tiny(Path(scratch) / "random", sizes)
        found = contestants(source, Path(scratch), arguments)
        met = [compare(found, rows, arguments.rounds, arguments.tokens) for rows in ROWS]
        for one in {id(one.backend): one for one in found}.values():
            one.backend.close()
    return int(not all(met))


def compare(found: list[Contestant], rows: int, rounds: int, tokens: int) -> bool:
    """Rounds in turns; whether the pass lines are met."""
    times: dict[str, list[tuple[float, float]]] = {one.name: [] for one in found}
    for one in found:
        measure(one, rows, 2)
    for turn in range(rounds):
        for one in found if turn % 2 == 0 else found[::-1]:
            times[one.name].append(measure(one, rows, tokens))
    print(f"\n| {rows} rows | tokens/s | CPU ms a token | time beside the plain graph |\n|---|---|---|---|")
    plain = [seconds for seconds, _ in times[ALONE]]
    ratios = {
        name: statistics.median(seconds / base for (seconds, _), base in zip(own, plain, strict=True))
        for name, own in times.items()
    }
    for name, own in times.items():
        seconds, used = (statistics.median(column) for column in zip(*own, strict=True))
        print(f"| {name} | {1 / seconds:.0f} | {used * 1000:.2f} | {ratios[name]:.2f} |")
    each_its_own = len(found[-1].blends) == rows
    return ratios[BESIDE] <= SLOWER and (not each_its_own or ratios[found[-1].name] <= 1 / KEPT)


if __name__ == "__main__":
    sys.exit(main())
