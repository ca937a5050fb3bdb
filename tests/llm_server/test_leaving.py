"""Readers that leave: how soon the engine hears of it, and what a slot counts as until then."""

import asyncio
import threading
from collections.abc import AsyncGenerator, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from llm_server.api.payloads import Payload
from llm_server.api.sse import Chained, SseResponse
from llm_server.api.stream import Stream
from llm_server.backends.echo import EchoBackend
from llm_server.engine.backend import Chunk
from llm_server.engine.engine import Engine, Limits
from llm_server.engine.sequence import CacheKey
from llm_server.engine.sequence import Sequence as EngineSequence
from tests.llm_server.running import GREEDY, say, start

PATIENCE = 60


class GatedBackend(EchoBackend):
    """The echo, whose steps wait at a gate."""

    def __init__(self) -> None:
        super().__init__(slots=1)
        self.gate, self.inside = threading.Event(), threading.Semaphore(0)
        self.gate.set()

    def decode(self, chunks: Sequence[Chunk]) -> list[int]:
        """Say that a step runs, and wait."""
        self.inside.release()
        assert self.gate.wait(PATIENCE)
        return super().decode(chunks)

    def stopped_in_a_step(self) -> None:
        """Close the gate, and wait until a step is behind it."""
        self.gate.clear()
        while self.inside.acquire(blocking=False):
            pass
        assert self.inside.acquire(timeout=PATIENCE)


@pytest.fixture
def gated() -> Iterator[tuple[Engine, GatedBackend]]:
    backend = GatedBackend()
    engine = Engine(backend, Limits(running=1))
    engine.start()
    yield engine, backend
    backend.gate.set()
    engine.close()


@dataclass
class Client:
    """Both ends of a connection."""

    left: asyncio.Event = field(default_factory=asyncio.Event)
    full: bool = False
    """Whether the socket takes nothing more."""
    parts: "asyncio.Queue[dict[str, Any]]" = field(default_factory=asyncio.Queue)

    async def receive(self) -> dict[str, Any]:
        """The body is through; what comes next is the end."""
        await self.left.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Any) -> None:
        """As uvicorn's, which waits while the socket is full."""
        if self.full:
            await asyncio.Event().wait()
        self.parts.put_nowait(message)


def test_a_slot_is_held_until_the_step_that_runs_is_through(gated: tuple[Engine, GatedBackend]) -> None:
    """A look at the counters in between sees it held, which is the truth: the step writes into it."""
    engine, backend = gated
    run = start(engine, say("on and on " * 40), max_tokens=300)
    run.step()
    backend.stopped_in_a_step()
    engine.cancel(run.sequence)
    assert len(engine.scheduler.running) == 1
    backend.gate.set()
    assert run.wait().reason == "cancelled"
    assert not engine.scheduler.running
    assert engine.load == 0


async def chunks(stream: Stream) -> AsyncGenerator[Payload, None]:
    async with stream:
        yield {"first": True}
        async for _, event in stream:
            yield {"event": type(event).__name__}


def streamed(engine: Engine) -> Stream:
    def make(index: int, sink: Any) -> EngineSequence:
        tokens = engine.backend.vocabulary.tokenize(say("on and on " * 40), special=True)
        return EngineSequence(tokens, GREEDY, CacheKey(engine.backend.digest), sink, max_tokens=300)

    return Stream(engine, 1, make)


async def test_the_engine_hears_within_two_turns_of_the_loop(gated: tuple[Engine, GatedBackend]) -> None:
    """Every turn may be as long as writing a token to all the other readers takes."""
    engine, backend = gated
    client, stream = Client(), streamed(engine)
    source = chunks(stream)
    response = SseResponse(Chained(await anext(source), source))
    answering = asyncio.ensure_future(response({"type": "http"}, client.receive, client.send))
    for _ in range(4):
        await asyncio.wait_for(client.parts.get(), PATIENCE)
    await asyncio.to_thread(backend.stopped_in_a_step)
    while not client.parts.empty():
        client.parts.get_nowait()
    # Nothing arrives any more: the response waits for the next token.
    await asyncio.sleep(0)
    client.left.set()
    turns = 0
    while not stream.sequences[0].cancelled:
        turns += 1
        assert turns <= 2
        await asyncio.sleep(0)
    backend.gate.set()
    await asyncio.wait_for(answering, PATIENCE)


async def test_a_reader_that_leaves_before_the_first_byte_frees_the_slot(
    gated: tuple[Engine, GatedBackend],
) -> None:
    engine, _ = gated
    client, stream = Client(full=True), streamed(engine)
    source = chunks(stream)
    response = SseResponse(Chained(await anext(source), source))
    answering = asyncio.ensure_future(response({"type": "http"}, client.receive, client.send))
    await asyncio.sleep(0)
    client.left.set()
    await asyncio.wait_for(answering, PATIENCE)
    # `source` is still referenced: nobody but the response has closed it.
    assert stream.sequences[0].cancelled
    with pytest.raises(StopAsyncIteration):
        await anext(source)
