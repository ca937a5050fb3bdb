"""Every chat is a trace; whatever is wrong with the sink, the chat is the same."""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gateway.conversations.store import Message
from graphs.spool import Courier, Sink, Spool
from tests.gateway.conftest import QUOTE, clerk, fill
from tests.gateway.service import Gateway, neighbours, running, settings, until
from tests.gateway.traces.conftest import EXPORT, TraceStore, trace_store
from tests.graphs.model_server import serving

SICK = "How much sick leave do I get?"


@asynccontextmanager
async def chatting(data: Path, traces_url: str, **changes: Any) -> AsyncIterator[Gateway]:
    chosen = settings(data, traces_url=traces_url, **changes)
    # Neighbours of their own: a gateway that starts again finds its data, not their files.
    place = data / f"neighbours-{time.time_ns()}"
    place.mkdir()
    async with neighbours(place, clerk) as (model, tools), running(chosen, model, tools) as gateway:
        yield gateway


async def traced(store: TraceStore, trace_id: str) -> list[dict[str, Any]]:
    """The observations of a trace once it is complete, the oldest first."""

    async def complete() -> list[dict[str, Any]]:
        found = await store.observations(traceId=trace_id, fields="basic,io,metadata,model,usage")
        return found if any(o["isRootObservation"] for o in found) else []

    found: list[dict[str, Any]] = await until(complete)
    return sorted(found, key=lambda o: o["startTime"])


async def message(gateway: Gateway, start: dict[str, Any]) -> dict[str, Any]:
    path = f"/api/v1/projects/demo/conversations/{start['conversation_id']}"
    found: dict[str, Any] = (await gateway.client.get(path)).json()["messages"][-1]
    return found


async def test_a_chat_is_a_trace(store: TraceStore) -> None:
    async with chatting(store.data, store.url) as gateway:
        await fill(gateway)
        told = await gateway.chat(SICK)
        start = told[0][1]
        found = await traced(store, start["trace_id"])
        me = (await gateway.client.get("/api/v1/me")).json()
    (root,) = [o for o in found if o["isRootObservation"]]
    assert root["name"] == "general"
    assert {o["sessionId"] for o in found} == {start["conversation_id"]}
    assert len({o["userId"] for o in found}) == 1
    assert found[0]["userId"] in json.dumps(me)
    assert root["metadata"]["message_id"] == start["message_id"]
    assert len(root["metadata"]["prompt_hash"]) == 12
    generations = [o for o in found if o["type"] == "GENERATION"]
    assert json.loads(generations[-1]["output"])["content"] == QUOTE
    assert SICK in generations[-1]["input"]
    assert generations[-1]["usageDetails"]["total"] > 0


async def test_the_answer_knows_its_generation(store: TraceStore) -> None:
    async with chatting(store.data, store.url) as gateway:
        start = (await gateway.chat("Hello"))[0][1]
        found = await traced(store, start["trace_id"])
        answer = (await message(gateway, start)) | {"trace_id": start["trace_id"]}
        service = gateway.app.state.services.database
    async with service.read() as session:
        stored = await session.get(Message, answer["id"])
    assert stored is not None
    generations = [o["id"] for o in found if o["type"] == "GENERATION"]
    assert stored.generation_id == generations[-1]
    await service.close()


def waiting(data: Path) -> list[Path]:
    return sorted((data / "run" / "spool").glob("*.otlp"))


async def hang(_: Request) -> Response:
    await asyncio.sleep(600)
    return Response()


async def fail(_: Request) -> Response:
    return Response(status_code=500)


@pytest.mark.parametrize("sink", [hang, fail, None])
async def test_a_sink_that_is_broken_changes_no_answer_and_gets_its_spans_later(
    tmp_path: Path, sink: Any
) -> None:
    """A chat never talks to the sink, so that it cannot be slowed by it: the spans lie on disk when the
    answer is long there, and go out in order when a sink takes them."""
    async with trace_store(tmp_path):
        pass  # makes the keys
    traces = []
    app = Starlette(routes=[Route(EXPORT, sink, methods=["POST"])] if sink else [])
    async with serving(app) as url:
        address = url if sink else "http://127.0.0.1:9"
        async with chatting(tmp_path, address) as gateway:
            for text in ("Hello", "Hello again"):
                told = await gateway.chat(text)
                assert told[-1][0] == "done"
                assert told[-1][1]["answer"] == f"You said: {text}"
                traces.append(told[0][1]["trace_id"])

                async def spooled(expected: int = len(traces)) -> bool:
                    return len(waiting(tmp_path)) >= expected

                await until(spooled)
    async with trace_store(tmp_path) as store, chatting(tmp_path, store.url):
        found = [await traced(store, trace) for trace in traces]
        assert [o[0]["traceId"] for o in found] == traces

        async def empty() -> bool:
            return not waiting(tmp_path)

        await until(empty)


def test_the_spool_is_bounded_and_the_oldest_makes_room(tmp_path: Path) -> None:
    spool = Spool(tmp_path, bound=10_000)
    for _ in range(20):
        spool.put(os.urandom(1000))
    files = spool.waiting()
    assert sum(file.stat().st_size for file in files) <= 10_000
    assert spool.dropped == 20 - len(files) > 0
    spool.put(os.urandom(20_000))  # no room could be made for it
    assert spool.waiting() == files
    assert spool.dropped == 21 - len(files)


async def test_batches_arrive_in_order_and_a_bad_one_does_not_block(tmp_path: Path) -> None:
    seen: list[bytes] = []
    answers = iter([503, 200, 400, 200])

    async def take(request: Request) -> Response:
        status = next(answers)
        if status != 503:
            seen.append(await request.body())
        return Response(status_code=status)

    async with serving(Starlette(routes=[Route(EXPORT, take, methods=["POST"])])) as url:
        spool = Spool(tmp_path)
        for text in (b"1", b"2", b"3"):
            spool.put(text)
        courier = Courier(spool, Sink(url, "pk", "sk"))
        courier.start()

        async def empty() -> bool:
            return not spool.waiting()

        await until(empty)
        await asyncio.to_thread(courier.close)
    assert [gzip.decompress(body) for body in seen] == [b"1", b"2", b"3"]
