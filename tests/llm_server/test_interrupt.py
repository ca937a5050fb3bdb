"""A client that leaves while its long prompt is computed ends the step, and nobody else notices."""

import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import llama_cpp.llama_cpp as llama
import numpy as np
import pytest

from llm_server.backends.llama_cpp import LlamaBackend, LlamaOptions
from llm_server.backends.onnx import OnnxBackend, OnnxOptions
from llm_server.engine.backend import Backend, Chunk
from llm_server.engine.engine import Limits
from llm_server.engine.sequence import Sequence as EngineSequence
from llm_server.errors import Interrupted
from tests.llm_server.onnx_models import prepared
from tests.llm_server.running import running, say, start

PROMPT = 500
"""Tokens, all in one step."""
PATIENCE = 60


class Watched(LlamaBackend):
    """llama.cpp, told from another thread that a client leaves as soon as a long prompt is being computed."""

    leave: Callable[[], None] | None = None

    def decode(self, chunks: Sequence[Chunk]) -> list[int]:
        """The real thing."""
        if self.leave is not None and any(len(chunk.tokens) > PROMPT // 2 for chunk in chunks):
            leaving, self.leave = threading.Thread(target=self.leave), None
            leaving.start()
            leaving.join(PATIENCE)
        return super().decode(chunks)


@pytest.fixture
def watched(tiny: Callable[[str], Path]) -> Iterator[Watched]:
    backend = Watched(tiny("f32"), LlamaOptions(running=4, threads=1, float32_cache=True))
    yield backend
    backend.close()


@pytest.fixture(params=["llama_cpp", "onnx"])
def backend(request: pytest.FixtureRequest, tiny: Callable[[str], Path], models: Path) -> Iterator[Backend]:
    made: Backend
    if request.param == "onnx":
        made = OnnxBackend(prepared(models, "fp32"), OnnxOptions(running=4, threads=1, context=1024))
    else:
        made = LlamaBackend(tiny("f32"), LlamaOptions(running=4, threads=1, float32_cache=True))
    yield made
    made.close()


def tokens(count: int) -> list[int]:
    rng = np.random.default_rng(3)
    return [int(token) for token in rng.integers(0, 400, count)]


def test_a_step_that_is_ended_leaves_what_was_there(backend: Backend) -> None:
    """The same logits as without the step, for the sequence that shared it and for the one that was ended."""
    prompt, long = tokens(20), tokens(PROMPT)

    def logits(row: int) -> Any:
        return np.array(backend.logits(row))

    backend.decode([Chunk(0, 0, prompt, 1)])
    alone = logits(backend.decode([Chunk(0, 20, [7], 1)])[0])
    whole = logits(backend.decode([Chunk(1, 0, long, 1)])[0])
    for slot in (0, 1):
        backend.trim(slot, 0)
    backend.decode([Chunk(0, 0, prompt, 1)])
    together = [Chunk(0, 20, [7], 1), Chunk(1, 0, long, 1)]
    for _ in range(2):
        backend.interrupt()
        with pytest.raises(Interrupted):
            backend.decode(together)
    rows = backend.decode(together)
    assert np.abs(logits(rows[0]) - alone).max() < 1e-4
    assert np.abs(logits(rows[1]) - whole).max() < 1e-4


def test_a_running_step_ends_before_its_prompt_is_through(watched: Watched) -> None:
    """The switch is turned while the graph is computed, by whichever node comes next."""
    watched.decode([Chunk(0, 0, tokens(20), 1)])
    together = [Chunk(0, 20, [7], 1), Chunk(1, 0, tokens(PROMPT), 1)]
    ended = 0
    for turn in range(40):
        # Later and later, until it is through before.
        turning = threading.Timer(turn / 1000, watched.interrupt)
        turning.start()
        try:
            watched.decode(together)
        except Interrupted:
            ended += 1
        turning.join()
        watched._abort.off()
        positions = [llama.llama_memory_seq_pos_max(watched._memory, slot) for slot in (0, 1)]
        assert positions in ([19, -1], [20, PROMPT - 1])
        for chunk in together:
            watched.trim(chunk.slot, chunk.start)
    assert ended


def test_a_cancelled_prompt_is_not_computed_and_the_others_go_on(watched: Watched) -> None:
    limits = Limits(running=4, step_tokens=512, speculate=False)
    with running(watched, limits) as engine:
        expected = start(engine, say("tell me more"), max_tokens=60).wait().text
        # Long prompts are computed in one part once the pace is known to be fast; here it has to be.
        engine.scheduler._pace = None
        other = start(engine, say("tell me more"), max_tokens=60)
        long: list[EngineSequence] = []
        submitted = threading.Event()

        def leave() -> None:
            assert submitted.wait(PATIENCE)
            engine.cancel(long[0])

        watched.leave = leave
        run = start(engine, tokens(PROMPT), max_tokens=5)
        long.append(run.sequence)
        submitted.set()
        assert run.wait().reason == "cancelled"
        assert run.sequence.computed == 0
        assert run.sequence.generated == 0
        assert other.wait().text == expected
        again = start(engine, tokens(PROMPT), max_tokens=5).wait()
        assert again.reason == "length"
        assert again.sequence.generated == 5
