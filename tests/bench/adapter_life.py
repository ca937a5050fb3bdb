"""Adapters under load: `python -m tests.bench.adapter_life [--only swap first]`.

The starter (q8_0) on llama.cpp in a serving process, asked over HTTP: how long loading takes, what a swap
adds to a first token, what a warm prompt saves, whether two adapters share fairly, whether a row is ever
nearer to another adapter's answer than to its own, and what loads, promotions and unloads do to eight
streams. Prints a Markdown table with the pass lines; exit code 1 where one is not met. Run it on a quiet
machine.
"""

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path

from tests.bench.adapter_contamination import contamination, isolated
from tests.bench.adapter_streams import streams
from tests.bench.adapter_times import fairness, first_token, loading, swapping
from tests.bench.adapters import Adapters, service
from tests.bench.lines import Line, show

PARTS = ("loads", "swap", "first", "fairness", "contamination", "streams")


async def measure(options: argparse.Namespace, folder: Path) -> list[Line]:
    """The parts that are wanted, each on a server of its own."""
    files = Adapters(folder)
    lines: list[Line] = []
    try:
        for part in options.only:
            lines += await _part(part, options, files, folder)
    finally:
        files.close()
    return lines


async def _part(part: str, options: argparse.Namespace, files: Adapters, folder: Path) -> list[Line]:
    alone = await isolated(files, folder, options.threads) if part == "contamination" else {}
    async with service(files, folder / part, options.threads) as running:
        if part == "loads":
            return await loading(running, options.loads)
        if part == "streams":
            return await streams(running, options.operations, options.quiet_seconds)
        await running.names()
        if part == "swap":
            return await swapping(running, options.swaps)
        if part == "first":
            return await first_token(running, options.rounds, options.words)
        if part == "fairness":
            return await fairness(running, options.rounds)
        return await contamination(running, alone, options.interleavings)


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--loads", type=int, default=40, help="cold loads of each kind")
    parser.add_argument("--swaps", type=int, default=200, help="and as many requests without one")
    parser.add_argument("--rounds", type=int, default=20, help="of first tokens and of fairness")
    parser.add_argument("--words", type=int, default=400, help="of the prompts of first tokens")
    parser.add_argument("--interleavings", type=int, default=10_000)
    parser.add_argument("--operations", type=int, default=1000)
    parser.add_argument("--quiet-seconds", type=float, default=120, help="of streams without operations")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="loopyard-bench-") as scratch:
        return show(asyncio.run(measure(options, Path(scratch))))


if __name__ == "__main__":
    sys.exit(main())
