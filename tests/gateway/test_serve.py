"""`python -m gateway serve` as a process: stopped, killed, started again."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2

from tests.gateway.conftest import clerk
from tests.gateway.service import ADMIN_KEY, CONTEXT_KEY, SECRET_KEY, Tools, events, neighbours, until
from tests.graphs.model_server import ModelServer

CHAT = "/api/v1/projects/demo/chat"
CONVERSATIONS = "/api/v1/projects/demo/conversations"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@asynccontextmanager
async def process(
    folder: Path, port: int, model: ModelServer, tools: Tools
) -> AsyncIterator[tuple[Process, httpx2.AsyncClient]]:
    """A gateway process that is ready, and a client with the admin's key."""
    chosen = {
        "PORT": str(port),
        "DATA": str(folder),
        "CONTEXT_KEY": CONTEXT_KEY,
        "SECRET_KEY": SECRET_KEY,
        "ADMIN_KEY": ADMIN_KEY,
        "LLM_URL": model.url,
        "TOOLS_URL": tools.url,
        "SHUTDOWN_SECONDS": "1",
    }
    environment = os.environ | {f"GATEWAY_{name}": value for name, value in chosen.items()}
    started = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "gateway", "serve", env=environment, stderr=PIPE
    )
    headers = {"Authorization": f"Bearer {ADMIN_KEY}"}
    url = f"http://127.0.0.1:{port}"
    async with httpx2.AsyncClient(base_url=url, headers=headers, timeout=30, trust_env=False) as client:

        async def live() -> bool:
            assert started.returncode is None, "the gateway ended"
            try:
                return bool((await client.get("/health/live")).status_code == 200)
            except httpx2.HTTPError:
                return False

        try:
            await until(live, 60)
            yield started, client
        finally:
            if started.returncode is None:
                started.kill()
            await started.communicate()


async def last_answer(client: httpx2.AsyncClient) -> dict[str, Any]:
    (item,) = (await client.get(CONVERSATIONS)).json()["items"]
    messages = (await client.get(f"{CONVERSATIONS}/{item['id']}")).json()["messages"]
    answer: dict[str, Any] = messages[-1]
    return answer


async def test_stopped_and_killed_in_mid_answer(tmp_path: Path) -> None:
    port = free_port()
    async with neighbours(tmp_path, clerk) as (model, tools):
        async with process(tmp_path, port, model, tools) as (gateway, client):
            async with client.stream("POST", CHAT, json={"message": "Be slow"}) as stream:
                told = []
                async for name, data in events(stream):
                    told.append((name, data))
                    if len(told) == 4:
                        gateway.send_signal(signal.SIGTERM)
            assert told[-1][0] == "error"
            assert (told[-1][1]["code"], told[-1][1]["retryable"]) == ("interrupted", True)
            # uvicorn ends in order and then gives itself the signal again, as a shell expects.
            assert await asyncio.wait_for(gateway.wait(), 15) == -signal.SIGTERM

        async with process(tmp_path, port, model, tools) as (gateway, client):
            answer = await last_answer(client)
            assert answer["state"] == "interrupted"
            assert answer["content"].startswith("word ")
            async with client.stream("POST", CHAT, json={"retry": answer["id"]}) as stream:
                async for name, _ in events(stream):
                    if name == "token":
                        break
                gateway.kill()
                await gateway.wait()

        async with process(tmp_path, port, model, tools) as (_, client):
            answer = await last_answer(client)
            assert (answer["state"], answer["error"]["retryable"]) == ("interrupted", True)
            model.script = lambda body: clerk({**body, "messages": [{"role": "user", "content": "Hi"}]})
            async with client.stream("POST", CHAT, json={"retry": answer["id"]}) as stream:
                assert [name async for name, _ in events(stream)][-1] == "done"
            assert (await last_answer(client))["state"] == "complete"
