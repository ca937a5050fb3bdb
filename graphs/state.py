"""What a run carries: the graph's state (checkpointed) and the run's own things (not)."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.tools import BaseTool
from langchain_openai import ChatOpenAI
from langgraph.graph import MessagesState

from graphs.database_schema import Schema
from graphs.events import Route, Timings, Usage
from graphs.limits import Budget
from graphs.llm import ModelCard, Models
from graphs.spec import AgentSpec


class RouterState(MessagesState):
    """`refused` counts tool calls that came back as errors since the question."""

    route: Route
    refused: int


@dataclass
class Meter:
    """What a run used. Written by the nodes, read when the answer is there."""

    started: float = field(default_factory=time.monotonic)
    usage: Usage = field(default_factory=Usage)
    model_ms: float = 0.0
    tools_ms: float = 0.0
    first_token_at: float | None = None

    @contextmanager
    def model_call(self) -> Iterator[None]:
        started = time.monotonic()
        try:
            yield
        finally:
            self.model_ms += _ms(started)

    def count(self, message: BaseMessage) -> None:
        used = message.usage_metadata if isinstance(message, AIMessage) else None
        if used:
            self.usage = self.usage.plus(used["input_tokens"], used["output_tokens"])

    def token_seen(self) -> None:
        self.first_token_at = self.first_token_at or time.monotonic()

    def timings(self) -> Timings:
        first = self.first_token_at
        return Timings(
            total_ms=round(_ms(self.started), 1),
            first_token_ms=round((first - self.started) * 1000, 1) if first else None,
            model_ms=round(self.model_ms, 1),
            tools_ms=round(self.tools_ms, 1),
        )


def _ms(since: float) -> float:
    return (time.monotonic() - since) * 1000


@dataclass(frozen=True)
class Run:
    """One answer in the making: the agent, its model and tools, and what is known of the project."""

    spec: AgentSpec
    models: Models
    card: ModelCard
    budget: Budget
    tools: dict[str, BaseTool]
    schema: Schema
    documents: Sequence[str]
    """Names of the project's documents, for the route prompt."""
    missing: str = ""
    """The model that was chosen and is not served; `card` stands in for it."""
    history: Sequence[BaseMessage] = ()
    """Earlier questions and answers, cut to the budget."""
    system: str = ""
    """What the caller adds to the persona."""
    sampling: dict[str, Any] = field(default_factory=dict)
    """Sampling parameters that the caller of /v1 gave (top_p, seed, stop)."""
    meter: Meter = field(default_factory=Meter)

    def chat(self, *, stream: bool, max_tokens: int | None = None) -> ChatOpenAI:
        limit = max_tokens or self.budget.answer
        temperature = self.sampling.get("temperature", self.spec.temperature)
        return self.models.chat(self.card.id, temperature=temperature, max_tokens=limit, stream=stream)
