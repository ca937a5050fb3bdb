"""One model on two engines in turns: `python -m tests.bench.engine_switch [--switches 10]`.

The starter is served by llama.cpp and by ONNX Runtime under one name; the file of models is edited while
streams run. Every stream has to be whole and to stay on the engine that it began with. An engine is ready
when /admin/config says so (`loaded_at`); measured is how long after that a request could still begin on
the engine before, and how long after that the first request that was sent later is answered, beside what
the same request takes under the same load when nothing is switched. After the streams, edits that load
nothing: another alias has to be served within 100 ms. Markdown table, exit code 1 where a pass line is not
met.
"""

import argparse
import asyncio
import json
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from rich.progress import track

from tests.bench.answers import Answer, ask
from tests.bench.lines import Line, least, most, show, told
from tests.bench.server import Server, serving

MODEL = "writer"
ENGINES = ("llama_cpp", "onnx")
EDITS = 20
GLANCE = 0.01
"""Seconds between two looks at /admin/config."""
PATIENCE = 300
PROMPT = "Tell me about orders, leave and travel."


@dataclass(slots=True)
class Switched:
    """What was seen so far."""

    answers: list[Answer] = field(default_factory=list)
    loading: list[float] = field(default_factory=list)
    """Seconds from an edit until ready."""
    taken: list[float] = field(default_factory=list)
    """Seconds from ready until an answer of the new engine."""
    usual: list[float] = field(default_factory=list)
    """Seconds of the same request when nothing is switched."""
    late: list[float] = field(default_factory=list)
    """Seconds after ready at which a stream still began on the engine before; negative: before it."""
    edits: list[float] = field(default_factory=list)
    """Seconds from an edit that loads nothing until it is served."""
    wrong: int = 0
    """Requests that were sent after ready and answered by another engine."""


def write(file: Path, engine: str, options: argparse.Namespace, alias: str = "scribe") -> None:
    """As editors do: another file, then a rename."""
    entry = {"id": MODEL, "engine": engine, "model": options.model, "precision": options.precision}
    entry["aliases"] = [alias]
    # JSON is YAML.
    beside = file.with_suffix(".new")
    beside.write_text(json.dumps({"models": [entry], "embeddings": False}))
    beside.replace(file)


async def measure(server: Server, file: Path, options: argparse.Namespace) -> list[Line]:
    """Streams all the time, edits one after the other."""
    seen, stop = Switched(), asyncio.Event()
    async with httpx.AsyncClient(base_url=server.url, timeout=120, trust_env=False) as client:

        async def stream() -> None:
            while not stop.is_set():
                answer = Answer(options.tokens)
                seen.answers.append(answer)
                await ask(client, MODEL, PROMPT, options.tokens, answer)

        streams = [asyncio.ensure_future(stream()) for _ in range(options.streams)]
        prints = [await _fingerprint(client)]
        held = [server.memory]
        for number in track(range(options.switches), "switching"):
            engine = ENGINES[(number + 1) % 2]
            await _switch(client, file, engine, options, seen, prints)
            if number % 2:
                await _drained(client)
                held.append(server.memory)
        stop.set()
        await asyncio.gather(*streams)
        await _drained(client)
        for number in range(EDITS):
            seen.edits.append(await _rename(client, file, options, f"scribe-{number}"))
    return _lines(seen, prints, held, options.switches)


async def _switch(
    client: httpx.AsyncClient,
    file: Path,
    engine: str,
    options: argparse.Namespace,
    seen: Switched,
    prints: list[str],
) -> None:
    """One edit, and what comes of it."""
    before = (await _config(client))["loaded_at"]
    began = time.time()
    write(file, engine, options)
    while (config := await _config(client))["loaded_at"] == before:
        if (config["refused"] and config["refused"]["at"] > began) or time.time() - began > PATIENCE:
            raise RuntimeError(f"the edit is not followed: {config}")
        await asyncio.sleep(GLANCE)
    if config["models"][0]["engine"] != engine:
        raise RuntimeError(f"another engine is in force: {config}")
    first = await _fingerprint(client)
    seen.taken.append(time.time() - config["loaded_at"])
    seen.loading.append(config["loaded_at"] - began)
    seen.wrong += first == prints[-1]
    # Streams begin by the clock of `perf_counter`.
    ready = time.perf_counter() - (time.time() - config["loaded_at"])
    await asyncio.sleep(options.pause)
    began = time.time()
    await _fingerprint(client)
    seen.usual.append(time.time() - began)
    old = [answer.began - ready for answer in seen.answers if prints[-1] in answer.fingerprints]
    seen.late.append(max(old, default=-1.0))
    prints.append(first)


async def _rename(client: httpx.AsyncClient, file: Path, options: argparse.Namespace, alias: str) -> float:
    """Seconds until another alias is served by the engine that is there."""
    began = time.perf_counter()
    write(file, ENGINES[options.switches % 2], options, alias)
    while (await client.get(f"/v1/models/{alias}")).status_code != 200:
        if time.perf_counter() - began > PATIENCE:
            raise RuntimeError(f"the edit is not followed: {await _config(client)}")
        await asyncio.sleep(GLANCE / 2)
    seconds = time.perf_counter() - began
    await asyncio.sleep(options.pause / 10)
    return seconds


async def _config(client: httpx.AsyncClient) -> dict[str, Any]:
    answer: dict[str, Any] = (await client.get("/admin/config")).raise_for_status().json()
    return answer


async def _fingerprint(client: httpx.AsyncClient) -> str:
    """Which weights answer a request that is sent now."""
    body = {"model": MODEL, "prompt": PROMPT, "max_tokens": 1, "temperature": 0}
    answer = (await client.post("/v1/completions", json=body)).raise_for_status()
    return str(answer.json()["system_fingerprint"])


async def _drained(client: httpx.AsyncClient) -> None:
    """Until the engine before is closed."""
    deadline = time.monotonic() + PATIENCE
    while (await _config(client))["draining"]:
        if time.monotonic() > deadline:
            raise RuntimeError("the engine before is still in use")
        await asyncio.sleep(0.1)


def _lines(seen: Switched, prints: list[str], held: list[int], switches: int) -> list[Line]:
    lost = [answer for answer in seen.answers if not answer.whole]
    for answer in lost[:5]:
        print(answer.status, answer.reason, len(answer.times), answer.fingerprints, answer.trouble)
    back = all(a == b for a, b in zip(prints, prints[2:], strict=False)) and len(set(prints)) == 2
    return [
        told("streams", len(seen.answers)),
        most("streams lost, or begun on one engine and ended on another", len(lost), 0),
        least("switches, each to the other engine", switches if back else 0, switches),
        told("from an edit until ready, most", max(seen.loading) * 1e3, "ms"),
        most("requests sent after ready and answered by the engine before", seen.wrong, 0),
        most("after ready, last request that began on the engine before", max(seen.late) * 1e3, 50, "ms"),
        told("from ready to an answer of the new engine, most", max(seen.taken) * 1e3, "ms"),
        told("the same request when nothing is switched, most", max(seen.usual) * 1e3, "ms"),
        most("from an edit that loads nothing until it is served, most", max(seen.edits) * 1e3, 100, "ms"),
        told("memory after the first pair of switches, engines before closed", held[1] / 2**20, "MB"),
        told("memory after the last pair", held[-1] / 2**20, "MB"),
    ]


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="starter", help="`starter`, or a transformers folder")
    parser.add_argument("--precision", default="int8", help="of the ONNX engine")
    parser.add_argument("--switches", type=int, default=20, help="an even number")
    parser.add_argument("--streams", type=int, default=4)
    parser.add_argument("--tokens", type=int, default=120, help="of each stream")
    parser.add_argument("--pause", type=float, default=3, help="seconds between switches")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    if options.switches < 2 or options.switches % 2:
        parser.error("--switches is an even number, at least 2")
    with tempfile.TemporaryDirectory(prefix="loopyard-bench-") as scratch:
        file = Path(scratch) / "models.yaml"
        write(file, ENGINES[0], options)
        with serving(Path(scratch) / "data", config=file, threads=options.threads, context=1024) as server:
            return show(asyncio.run(measure(server, file, options)))


if __name__ == "__main__":
    sys.exit(main())
