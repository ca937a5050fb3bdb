"""Completions as they arrive: when each token came, and whether all of them did."""

import itertools
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx

Score = tuple[str, float]
"""A token's text and its log-probability."""


@dataclass(slots=True)
class Answer:
    """One completion, streamed; times are of `time.perf_counter`."""

    wanted: int
    """Tokens that were asked for."""
    began: float = field(default_factory=time.perf_counter)
    status: int = 0
    """0 where the connection broke before there was one."""
    times: list[float] = field(default_factory=list)
    """When each token arrived."""
    scores: list[Score] = field(default_factory=list)
    reason: str = ""
    done: bool = False
    fingerprints: set[str] = field(default_factory=set)
    cached: int = 0
    """Prompt tokens out of the prefix cache."""
    trouble: str = ""

    @property
    def whole(self) -> bool:
        """All tokens, their reason and the end mark have come, from one version of one model."""
        right = self.status == 200 and self.done and self.reason == "length" and len(self.fingerprints) == 1
        return right and len(self.times) == self.wanted

    @property
    def first(self) -> float:
        """Seconds until the first token. ValueError where there is none."""
        if not self.times:
            raise ValueError(f"no token came: {self.status} {self.trouble}")
        return self.times[0] - self.began

    @property
    def gaps(self) -> list[float]:
        """Seconds between the tokens."""
        return [b - a for a, b in itertools.pairwise(self.times)]

    def take(self, chunk: dict[str, Any]) -> None:
        """One event of the stream. Every token has scores, also where its text is still held back."""
        if "error" in chunk:
            self.trouble = str(chunk["error"])
            return
        self.fingerprints.add(chunk["system_fingerprint"])
        self.cached = ((chunk.get("usage") or {}).get("prompt_tokens_details") or {}).get("cached_tokens", 0)
        for choice in chunk["choices"]:
            self.reason = choice["finish_reason"] or self.reason
            scores = choice["logprobs"] or {"tokens": [], "token_logprobs": []}
            self.scores += zip(scores["tokens"], scores["token_logprobs"], strict=True)
            self.times += [time.perf_counter()] * len(scores["tokens"])


def body(model: str, prompt: str | Sequence[int], tokens: int) -> dict[str, Any]:
    """A greedy completion of exactly `tokens` tokens, with their scores."""
    return {
        "model": model,
        "prompt": prompt if isinstance(prompt, str) else list(prompt),
        "max_tokens": tokens,
        "temperature": 0,
        "ignore_eos": True,
        "logprobs": 0,
        "stream": True,
        "stream_options": {"include_usage": True},
    }


async def ask(
    client: httpx.AsyncClient,
    model: str,
    prompt: str | Sequence[int],
    tokens: int,
    into: Answer | None = None,
) -> Answer:
    """Stream a completion; what goes wrong is in the answer. `into` can be watched while it grows."""
    answer = Answer(tokens) if into is None else into
    try:
        async with client.stream("POST", "/v1/completions", json=body(model, prompt, tokens)) as response:
            answer.status = response.status_code
            if response.status_code != 200:
                answer.trouble = (await response.aread()).decode(errors="replace")
                return answer
            async for line in response.aiter_lines():
                if line == "data: [DONE]":
                    answer.done = True
                elif line.startswith("data: "):
                    answer.take(json.loads(line.removeprefix("data: ")))
    except httpx.TransportError as error:
        answer.trouble = repr(error)
    return answer
