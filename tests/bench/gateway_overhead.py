"""What the gateway adds to an answer: `python -m tests.bench.gateway_overhead [--rounds 60]`.

The same request goes to llm_server and through the gateway's /v1, turn by turn, with the echo backend, so
that the model costs next to nothing and the difference is the gateway's own. Prints a Markdown table with
medians. Run it on a quiet machine; exit code 1 where the chain failed or a pass-through adds more than
`--most` milliseconds.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from rich.progress import track

from tests.trial.stack import Stack, own_stack
from tests.trial.tables import table

AGENT = "general"
WARM_UP = 5
ECHO = {"LLM_BACKEND": "echo", "GATEWAY_DEFAULT_MODEL": "echo"}
TOOL = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather of a city.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
MESSAGES = [{"role": "user", "content": "Good morning, what can you do for me today?"}]


@dataclass
class Case:
    """One kind of request and its times in milliseconds."""

    name: str
    body: dict[str, Any]
    direct: list[float] = field(default_factory=list)
    gateway: list[float] = field(default_factory=list)

    @property
    def row(self) -> list[object]:
        """Medians, the 95th percentile of the gateway, what is added and the ratio."""
        direct, through = statistics.median(self.direct), statistics.median(self.gateway)
        slow = statistics.quantiles(self.gateway, n=20)[-1]
        figures = (direct, through, slow, through - direct)
        return [self.name, *(f"{figure:.1f}" for figure in figures), f"{through / direct:.2f}"]

    @property
    def added(self) -> float:
        """Median milliseconds that the gateway adds."""
        return statistics.median(self.gateway) - statistics.median(self.direct)


def cases() -> list[Case]:
    """With the client's tools the gateway passes the request on; without, its agent answers."""
    tools = {"tools": [TOOL]}
    return [
        Case("client's tools, whole answer", {**tools}),
        Case("client's tools, first token", {**tools, "stream": True}),
        Case("agent, whole answer", {}),
        Case("agent, first token", {"stream": True}),
    ]


def measure(client: httpx.Client, model: str, body: dict[str, Any]) -> float:
    """Milliseconds until the answer, or until its first piece of text or tool call where it streams."""
    request = {"model": model, "messages": MESSAGES, "max_tokens": 24, "temperature": 0, **body}
    started = time.perf_counter()
    if not body.get("stream"):
        client.post("chat/completions", json=request).raise_for_status()
        return (time.perf_counter() - started) * 1000
    first = 0.0
    with client.stream("POST", "chat/completions", json=request) as response:
        response.raise_for_status()
        # Read to the end: closing early would cancel the run and leave the next one to wait for it.
        for line in response.iter_lines():
            if not first and has_text(line):
                first = (time.perf_counter() - started) * 1000
    if not first:
        raise RuntimeError(f"the stream of {model} had no text")
    return first


def has_text(line: str) -> bool:
    """Whether a line of the stream brings text or a tool call."""
    if not line.startswith("data: {"):
        return False
    choices = json.loads(line.removeprefix("data: ")).get("choices") or [{}]
    delta = choices[0].get("delta") or {}
    return bool(delta.get("content") or delta.get("tool_calls"))


def compare(stack: Stack, rounds: int) -> list[Case]:
    """Every case, direct and through the gateway in turns, after some that are not counted."""
    found = cases()
    with (
        client_of(stack.llm_url, stack.llm_key) as direct,
        client_of(f"{stack.url}/v1", stack.key) as gateway,
    ):
        models = direct.get("models").raise_for_status().json()["data"]
        model = next(str(entry["id"]) for entry in models if "chat" in entry["capabilities"])
        for number in track(range(WARM_UP + rounds), description="asking"):
            for case in found:
                pair = measure(direct, model, case.body), measure(gateway, AGENT, case.body)
                if number >= WARM_UP:
                    case.direct.append(pair[0])
                    case.gateway.append(pair[1])
    return found


def client_of(url: str, key: str) -> httpx.Client:
    """A client that keeps its connection."""
    headers = {"Authorization": f"Bearer {key}"}
    return httpx.Client(base_url=url, headers=headers, timeout=60, trust_env=False)


def main(argv: Sequence[str] | None = None) -> int:
    """Starts an own stack with the echo backend, measures and prints."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.gateway_overhead")
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--most", type=float, default=50, help="milliseconds that a pass-through may add")
    options = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="loopyard-bench-") as folder:
        home = Path(folder)
        with own_stack(home / "data", home / "log", ECHO) as stack:
            found = compare(stack, options.rounds)
    head = ["request", "llm_server ms", "gateway ms", "gateway p95 ms", "added ms", "ratio"]
    print(table(head, (case.row for case in found)))
    return int(any(case.added > options.most for case in found if "tools" in case.body))


if __name__ == "__main__":
    sys.exit(main())
