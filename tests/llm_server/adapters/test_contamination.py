"""Rows of eight adapters and the base in random company, over HTTP: none ever answers from another adapter.

What each adapter says alone comes from a server that has no other, so that nothing can have been mixed up
there. A row belongs to the adapter whose lone answer its log-probabilities are nearest to.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from gguf import GGUFWriter

from llm_server.settings import Settings
from tests.llm_server.adapters.making import TINY
from tests.llm_server.conftest import serving

NAMES = [f"row-{number}" for number in range(8)]
BASE = ""
EVERY = [*NAMES, BASE]
BURSTS = 400
TOKENS = 6
LEAVING = 0.1
"""Share of rows whose client leaves after a moment."""
HEADS = ("In the shop and in the office people ask about", "The manual of the store says")
TAILS = ("", " orders that came back", " orders that came late, and leave", " travel by train")
TEXTS = [head + tail for head in HEADS for tail in TAILS]
PARTS = {
    "attn_q": (TINY.hidden, TINY.heads * TINY.width),
    "attn_v": (TINY.hidden, TINY.kv_heads * TINY.width),
    "ffn_up": (TINY.hidden, TINY.feed_forward),
}
"""Inputs and outputs of the matrices that the adapters change."""

Key = tuple[str, str]
Scores = list[tuple[str, float]]


@dataclass
class Said:
    """An answer: tokens with log-probabilities, and how much of its prompt was cached."""

    scores: Scores
    cached: int


def gguf_adapter(path: Path, seed: int, rank: int = 4) -> Path:
    """A random LoRA as a GGUF file."""
    rng = np.random.default_rng(seed)
    writer = GGUFWriter(path, "qwen3")
    writer.add_string("general.type", "adapter")
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", 8.0)
    for layer in range(TINY.layers):
        for part, (inputs, outputs) in PARTS.items():
            name = f"blk.{layer}.{part}.weight"
            writer.add_tensor(f"{name}.lora_a", rng.normal(0, 0.1, (rank, inputs)).astype(np.float32))
            writer.add_tensor(f"{name}.lora_b", rng.normal(0, 0.1, (outputs, rank)).astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@dataclass
class Rows:
    """A server that is asked for rows."""

    http: httpx.AsyncClient
    model: str

    async def ask(self, name: str, text: str) -> Said:
        """One row. Fails where the server does."""
        model = f"{self.model}:{name}" if name else self.model
        body = {"model": model, "prompt": text, "max_tokens": TOKENS, "temperature": 0, "logprobs": 0}
        answer = await self.http.post("/v1/completions", json={**body, "ignore_eos": True})
        assert answer.status_code == 200, answer.text
        scores = answer.json()["choices"][0]["logprobs"]
        cached = answer.json()["usage"]["prompt_tokens_details"]["cached_tokens"]
        return Said(list(zip(scores["tokens"], scores["token_logprobs"], strict=True)), cached)

    async def ask_briefly(self, name: str, text: str, seconds: float) -> None:
        """One whose client leaves."""
        try:
            await asyncio.wait_for(self.ask(name, text), seconds)
        except TimeoutError:
            return

    async def length(self, text: str) -> int:
        """Tokens of a prompt."""
        answer = await self.http.post("/v1/tokenize", json={"model": self.model, "content": text})
        return int(answer.json()["count"])


@asynccontextmanager
async def rows(path: Path, data: Path, adapters: dict[str, Path]) -> AsyncIterator[Rows]:
    """A server with these adapters."""
    lora = ",".join(f"{name}={adapter}" for name, adapter in adapters.items())
    options: dict[str, Any] = {"embeddings": False, "threads": 1, "context": 256, "lora": lora}
    with serving(Settings(model=str(path), data=data, **options)) as url:
        async with httpx.AsyncClient(base_url=url, timeout=60) as http:
            yield Rows(http, path.stem)


def distance(some: Scores, others: Scores) -> float:
    """Mean difference of log-probabilities up to the first token that differs, which counts ten."""
    total = 0.0
    for place, ((token, logprob), (other, score)) in enumerate(zip(some, others, strict=True)):
        if token != other:
            return (total + 10) / (place + 1)
        total += abs(logprob - score)
    return total / len(some)


async def test_no_row_answers_from_another_adapter(tiny: Callable[[str], Path], tmp_path: Path) -> None:
    path, rng = tiny("f32"), random.Random(9)
    adapters = {name: gguf_adapter(tmp_path / f"{name}.gguf", seed) for seed, name in enumerate(NAMES)}
    alone: dict[Key, Scores] = {}
    for name in EVERY:
        only = {name: adapters[name]} if name else {}
        async with rows(path, tmp_path / f"only-{name}", only) as lone:
            alone |= {(name, text): (await lone.ask(name, text)).scores for text in TEXTS}
            lengths = {text: await lone.length(text) for text in TEXTS}
    apart = [
        distance(alone[one, text], alone[other, text])
        for text in TEXTS
        for one in EVERY
        for other in EVERY
        if one != other
    ]
    assert min(apart) > 0.01  # or nothing could be told apart

    keys = [(name, text) for name in EVERY for text in TEXTS]
    eligible = reused = 0
    seen: set[Key] = set()
    async with rows(path, tmp_path / "together", adapters) as together:
        for _ in range(BURSTS):
            burst = [rng.choice(keys) for _ in range(rng.randint(2, 8))]
            brief = [
                together.ask_briefly(*key, rng.uniform(0, 0.03)) for key in burst if rng.random() < LEAVING
            ]
            said = await asyncio.gather(*(together.ask(*key) for key in burst), *brief)
            for (name, text), answer in zip(burst, said, strict=False):
                assert answer is not None
                distances = {other: distance(answer.scores, alone[other, text]) for other in EVERY}
                assert min(distances, key=lambda other: distances[other]) == name
                assert distances[name] < 0.005
                if (name, text) in seen:
                    eligible += lengths[text] - 1
                    reused += min(answer.cached, lengths[text] - 1)
            seen.update(burst)
    assert seen == set(keys)
    assert reused >= 0.9 * eligible
