"""Driving an engine from a test."""

import queue
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import cast

from llm_server.adapters.selection import Selection
from llm_server.engine.backend import Backend
from llm_server.engine.blend import BASE
from llm_server.engine.engine import Engine, Limits
from llm_server.engine.grammar import Guide
from llm_server.engine.sampling import SamplingParams
from llm_server.engine.sequence import CacheKey, Delta, Event, Failed, Finished, TokenScore
from llm_server.engine.sequence import Sequence as EngineSequence

GREEDY = SamplingParams(temperature=0)


@dataclass
class Run:
    """A sequence on its way and what it has said."""

    sequence: EngineSequence
    events: "queue.SimpleQueue[Event]"
    text: str = ""
    scores: list[TokenScore] = field(default_factory=list)
    end: Finished | Failed | None = None

    def wait(self) -> "Run":
        """Until it is through."""
        while self.end is None:
            self.step()
        return self

    def step(self) -> None:
        """One event."""
        event = self.events.get(timeout=60)
        if isinstance(event, Delta):
            self.text += event.text
            self.scores.extend(event.scores)
        else:
            self.end = event

    @property
    def reason(self) -> str:
        """Why it ended."""
        assert isinstance(self.end, Finished), self.end
        return self.end.reason


@contextmanager
def running(backend: Backend, limits: Limits | None = None) -> Iterator[Engine]:
    """A started engine; its backend stays open."""
    engine = Engine(cast(Backend, _Kept(backend)), limits)
    engine.start()
    yield engine
    engine.close()


class _Kept:
    """A backend that outlives its engine."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    def __getattr__(self, name: str) -> object:
        return getattr(self._backend, name)

    def close(self) -> None:
        """Not yet."""


def start(
    engine: Engine,
    prompt: str | Sequence[int],
    *,
    params: SamplingParams = GREEDY,
    max_tokens: int = 16,
    guide: Guide | None = None,
    stops: tuple[str, ...] = (),
    selection: Selection | None = None,
    logprobs: int | None = None,
) -> Run:
    """Submit one sequence, with adapters where a selection is given."""
    vocabulary = engine.backend.vocabulary
    tokens = vocabulary.tokenize(prompt, special=True) if isinstance(prompt, str) else list(prompt)
    events: queue.SimpleQueue[Event] = queue.SimpleQueue()
    blend = selection.lend() if selection else BASE
    sequence = EngineSequence(
        tokens,
        params if logprobs is None else replace(params, logprobs=logprobs),
        CacheKey(engine.backend.digest, blend.digest),
        events.put,
        max_tokens,
        guide=guide,
        stops=stops,
        blend=blend,
        release=selection.release if selection else lambda: None,
    )
    engine.submit([sequence])
    return Run(sequence, events)


def say(text: str) -> str:
    """A ChatML prompt."""
    return f"<|im_start|>user\n{text}<|im_end|>\n<|im_start|>assistant\n"
