"""Tokens per second and time to first token beside llama-cpp-python's server and llama-server
(xllamacpp).

`python -m tests.bench.llm_throughput --model x.gguf` (or without: a random model of 50 million
parameters in q8_0). Same file, same threads, all over HTTP; the servers take turns (A B C C B A ...)
so that whatever else the machine does hits all of them; the table shows medians and the median of the
ratios round by round. Needs the extra `bench`.
"""

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import httpx

from llm_server.convert.gguf import quantise
from llm_server.convert.prepare import prepare_chat
from tests.bench.llm_peers import model_id, serving
from tests.llm_server.tiny import Sizes, make_tiny

NAMES = ("loopyard", "llama_cpp.server", "xllamacpp")
PROMPT = "The quick brown fox number {n} jumps over {n} lazy dogs and reads {n} books. " * 6


@dataclass(frozen=True)
class Measured:
    """One round of one server. Ends are not allowed, but where a server does not know `ignore_eos` texts
    are counted.
    """

    tokens_per_second: float
    first_token: float
    """Median seconds until the first text."""


async def stream(
    client: httpx.AsyncClient, url: str, body: dict[str, object], tokens: int
) -> tuple[float, int]:
    """Read one stream; seconds until its first text, and its tokens."""
    began, first, texts, reason = time.perf_counter(), 0.0, 0, None
    async with client.stream("POST", f"{url}/v1/completions", json=body) as answer:
        answer.raise_for_status()
        async for line in answer.aiter_lines():
            for choice in json.loads(line[6:])["choices"] if line.startswith("data: {") else ():
                reason = choice.get("finish_reason") or reason
                texts += bool(choice.get("text"))
                first = first or (time.perf_counter() - began if texts else 0.0)
    return first or time.perf_counter() - began, tokens if reason == "length" else texts


async def measure(url: str, model: str, streams: int, tokens: int, seed: int) -> Measured:
    """`streams` completions at once. Every one of them is as long as it may be: the end is not allowed."""
    async with httpx.AsyncClient(timeout=300) as client:
        began = time.perf_counter()
        bodies = [
            {
                "model": model,
                "prompt": PROMPT.format(n=seed * 100 + n),
                "max_tokens": tokens,
                "temperature": 0,
                "stream": True,
                "ignore_eos": True,
            }
            for n in range(streams)
        ]
        read = await asyncio.gather(*(stream(client, url, body, tokens) for body in bodies))
        seconds = time.perf_counter() - began
    return Measured(sum(n for _, n in read) / seconds, statistics.median(first for first, _ in read))


def rounds(urls: dict[str, str], streams: int, tokens: int, count: int) -> dict[str, list[Measured]]:
    """`count` rounds in alternating order, after one that does not count."""
    results: dict[str, list[Measured]] = {name: [] for name in urls}
    models = {name: model_id(url) for name, url in urls.items()}
    for n in range(count + 1):
        for name in list(urls) if n % 2 else reversed(list(urls)):
            got = asyncio.run(measure(urls[name], models[name], streams, tokens, seed=n + 1 + 50 * streams))
            if n:
                results[name].append(got)
    return results


def table(results: dict[int, dict[str, list[Measured]]]) -> str:
    """Markdown; ratios are to Loopyard, over 1 means that Loopyard is better."""
    lines = [
        "| server | streams | tokens/s | Loopyard is faster by | first token, ms | Loopyard is earlier by |"
    ]
    lines.append("|---|---|---|---|---|---|")
    for streams, servers in results.items():
        ours = servers["loopyard"]
        for name, theirs in servers.items():
            speed = statistics.median(r.tokens_per_second for r in theirs)
            first = statistics.median(r.first_token for r in theirs)
            pairs = list(zip(ours, theirs, strict=True))
            faster = statistics.median(a.tokens_per_second / b.tokens_per_second for a, b in pairs)
            earlier = statistics.median(b.first_token / a.first_token for a, b in pairs)
            ratio = ("1", "1") if name == "loopyard" else (f"{faster:.2f}x", f"{earlier:.2f}x")
            lines.append(
                f"| {name} | {streams} | {speed:.0f} | {ratio[0]} | {first * 1e3:.0f} | {ratio[1]} |"
            )
    return "\n".join(lines)


def random_model(folder: Path) -> Path:
    """About 50 million parameters, q8_0."""
    sizes = Sizes(hidden=768, feed_forward=2048, layers=8, heads=12, kv_heads=4, width=64, context=4096)
    full = prepare_chat(str(make_tiny(folder / "random-50m", sizes)), folder, "f32").path
    quantise(full, folder / "random-50m.gguf", "q8_0")
    return folder / "random-50m.gguf"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", type=Path, help="a GGUF file")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--tokens", type=int, default=96, help="of each completion")
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--streams", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--servers", nargs="+", default=list(NAMES), choices=NAMES)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch, ExitStack() as stack:
        model = options.model or random_model(Path(scratch))
        urls: dict[str, str] = {}
        for name in options.servers:
            try:
                urls[name] = stack.enter_context(serving(name, model, options.threads, 2048))
            except RuntimeError as error:
                sys.stderr.write(f"{error}\n")
        results = {n: rounds(urls, n, options.tokens, options.rounds) for n in options.streams}
        sys.stdout.write(table(results) + "\n")


if __name__ == "__main__":
    main()
