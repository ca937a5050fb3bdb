"""Clients that vanish, over real sockets: every slot comes back, nothing is left behind."""

import asyncio
import json
import random
import re
import socket
import struct
import threading
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from llm_server.settings import Settings
from tests.llm_server.conftest import serving

CLIENTS = 200
TOKENS = 400
"""Long enough that nobody's answer is through before its client has left."""
SLOTS = 4
POOLS = ("asyncio_", "uvloop_", "AnyIO")
"""Threads that libraries keep for later."""
MESSAGES = [{"role": "user", "content": "go on and on"}]


@dataclass(frozen=True)
class Served:
    """A server, and what it must look like when nobody is there."""

    port: int
    http: httpx.Client
    tasks: int
    threads: set[str]

    def metric(self, name: str, labels: str = "") -> float:
        """Of /metrics; 0 where it has not been counted yet."""
        found = re.search(rf"^{name}{re.escape(labels)} (\S+)$", self.http.get("/metrics").text, re.MULTILINE)
        return float(found[1]) if found else 0.0

    def held(self) -> float:
        """Slots and places of the queue."""
        labels = '{model="tiny-f16"}'
        return self.metric("llm_slots_busy", labels) + self.metric("llm_queue_sequences", labels)

    def say(self) -> httpx.Response:
        """A short request."""
        return self.http.post("/v1/chat/completions", json=chat(max_tokens=3))


def chat(**more: Any) -> dict[str, Any]:
    return {"model": "tiny-f16", "messages": MESSAGES, "ignore_eos": True, "temperature": 0, **more}


def task_count() -> int:
    """In the server's event loop, the one that counts included."""
    return len(asyncio.all_tasks())


async def count_tasks() -> int:
    return task_count()


def lasting_threads() -> set[str]:
    return {thread.name for thread in threading.enumerate() if not thread.name.startswith(POOLS)}


@pytest.fixture
def served(models: Path, tiny: Callable[[str], Path]) -> Iterator[Served]:
    """Four slots, room for everybody in the queue, and a route that counts tasks."""
    options: dict[str, Any] = {"embeddings": False, "threads": 1, "slots": SLOTS, "queue": CLIENTS}
    settings = Settings(model=str(tiny("f16")), data=models, **options)

    def extend(app: FastAPI) -> None:
        app.add_api_route("/tasks", count_tasks)

    with serving(settings, extend) as url, httpx.Client(base_url=url, timeout=60) as http:
        assert http.post("/v1/chat/completions", json=chat(max_tokens=3)).status_code == 200
        tasks = int(http.get("/tasks").text)
        yield Served(int(url.rpartition(":")[2]), http, tasks, lasting_threads())


async def eventually(condition: Callable[[], bool]) -> None:
    """At most a minute."""
    for _ in range(600):
        if await asyncio.to_thread(condition):
            return
        await asyncio.sleep(0.1)
    assert await asyncio.to_thread(condition)


async def is_as_before(served: Served) -> None:
    """Slots and queue are free, the next one is answered, and neither task nor thread is left."""
    await eventually(lambda: served.held() == 0)
    assert (await asyncio.to_thread(served.say)).status_code == 200
    await eventually(lambda: int(served.http.get("/tasks").text) == served.tasks)
    await eventually(lambda: lasting_threads() == served.threads)


Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


def raw(path: str, body: dict[str, Any]) -> bytes:
    content = json.dumps(body).encode()
    head = f"POST {path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
    return f"{head}content-length: {len(content)}\r\n\r\n".encode() + content


async def opened(served: Served, request: bytes) -> Connection:
    reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
    writer.write(request)
    await writer.drain()
    return reader, writer


def reset(writer: asyncio.StreamWriter) -> None:
    """Have the next close send RST, as a process that is killed with unread data does."""
    linger = struct.pack("ii", 1, 0)
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)


async def at_once(served: Served, request: bytes, rng: random.Random) -> Connection:
    """Leave with the request's last byte."""
    return await opened(served, request)


async def half_a_request(served: Served, request: bytes, rng: random.Random) -> Connection:
    """Leave before the body is complete."""
    connection = await opened(served, request[: rng.randrange(1, len(request))])
    await asyncio.sleep(rng.uniform(0, 0.3))
    return connection


async def waiting(served: Served, request: bytes, rng: random.Random) -> Connection:
    """Leave after a moment: in the queue, in the prompt or after some tokens."""
    connection = await opened(served, request)
    await asyncio.sleep(rng.uniform(0, 0.3))
    return connection


async def reading(served: Served, request: bytes, rng: random.Random) -> Connection:
    """Leave after some bytes of the answer."""
    connection = await opened(served, request)
    await connection[0].read(rng.randrange(1, 4000))
    return connection


async def half_closed(served: Served, request: bytes, rng: random.Random) -> Connection:
    """Say that nothing more will be sent, and go without having read."""
    connection = await opened(served, request)
    connection[1].write_eof()
    await asyncio.sleep(rng.uniform(0, 0.3))
    return connection


Way = Callable[[Served, bytes, random.Random], Awaitable[Connection]]
WAYS: list[Way] = [at_once, half_a_request, waiting, reading, half_closed]
ROUTES: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": chat(max_tokens=TOKENS),
    "/v1/completions": {**chat(max_tokens=TOKENS), "prompt": "on and on"},
    "/v1/responses": {**chat(max_output_tokens=TOKENS), "input": "go on and on"},
}


async def test_two_hundred_clients_that_vanish_leave_nothing(served: Served) -> None:
    rng = random.Random(8)

    async def vanish(number: int) -> None:
        path, body = rng.choice(list(ROUTES.items()))
        way = WAYS[number % len(WAYS)]
        # Who reads must have something to read.
        body = {**body, "stream": way is reading or rng.random() < 0.5, "n": rng.choice([1, 1, 2])}
        await asyncio.sleep(rng.uniform(0, 2))
        _, writer = await way(served, raw(path, body), rng)
        if rng.random() < 0.5:
            reset(writer)
        writer.close()

    await asyncio.gather(*(vanish(number) for number in range(CLIENTS)))
    await is_as_before(served)
    assert served.metric("llm_sequences_total", '{reason="error"}') == 0
    assert served.metric("llm_sequences_total", '{reason="cancelled"}') >= CLIENTS / 4


async def test_a_client_that_never_reads_holds_no_slot(served: Served) -> None:
    """Its answer is larger than what the sockets between hold, so that the server cannot send it all."""
    count = 2 * SLOTS
    body = chat(max_tokens=900, n=count, stream=True, logprobs=True, top_logprobs=20)
    with socket.socket() as silent:
        silent.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        silent.connect(("127.0.0.1", served.port))
        silent.sendall(raw("/v1/chat/completions", body))
        await eventually(lambda: served.held() == count)
        await eventually(lambda: served.held() == 0)
        assert (await asyncio.to_thread(served.say)).status_code == 200
        assert int(served.http.get("/tasks").text) > served.tasks  # the answer still waits for its reader
    await is_as_before(served)


async def test_a_client_that_never_asks_holds_no_slot(served: Served) -> None:
    """Connections with half a request, or none, that stay open."""
    request = raw("/v1/chat/completions", chat(max_tokens=TOKENS))
    connections = [await opened(served, request[: number * 7]) for number in range(20)]
    assert (await asyncio.to_thread(served.say)).status_code == 200
    assert served.held() == 0
    for _, writer in connections:
        writer.close()
    await is_as_before(served)
