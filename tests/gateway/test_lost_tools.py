"""The tools service is killed while an agent waits for it."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.gateway.service import CONTEXT_KEY, Gateway, Tools, events, running, settings, until
from tests.graphs.model_server import Reply, model_server
from tests.tools.serving import free_port

# Starting the tools service twice on a busy machine takes its time.
pytestmark = pytest.mark.timeout(300)
CHAT = "/api/v1/projects/demo/chat"
SLOW = f"SELECT COUNT(*) AS n FROM {', '.join(f'Album a{n}' for n in range(22))}"


@asynccontextmanager
async def tools_service(data: Path, port: int) -> AsyncIterator[asyncio.subprocess.Process]:
    """The product's own, as a process, killed at the end."""
    values = {
        "PORT": str(port),
        "DATA": str(data),
        "CONTEXT_KEY": CONTEXT_KEY,
        "LLM_URL": "http://127.0.0.1:9/v1",
    }
    env = {**os.environ, **{f"TOOLS_{name}": value for name, value in values.items()}}
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", "tools", "serve", env=env)

    async def answers() -> bool:
        assert process.returncode is None
        async with httpx2.AsyncClient(trust_env=False) as client:
            try:
                return (await client.get(f"http://127.0.0.1:{port}/health")).status_code == 200
            except httpx2.TransportError:
                return False

    try:
        await until(answers, 120)
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


def asks_first(body: dict[str, Any]) -> Reply:
    """Calls the database once, then answers."""
    if body["messages"][-1]["role"] == "tool":
        return Reply("There are 3 albums.")
    return Reply(calls=[("sql_query", {"sql": SLOW})])


async def connect(gateway: Gateway, database: Path) -> None:
    with closing(sqlite3.connect(database)) as connection:
        connection.executescript(
            "CREATE TABLE Album(AlbumId INTEGER PRIMARY KEY); INSERT INTO Album VALUES (1), (2), (3);"
        )
    link = {"name": "music", "url": f"sqlite:///{database}"}
    made = await gateway.client.post("/api/v1/projects/demo/databases", json=link)
    assert made.status_code == 201, made.text


async def test_tools_that_die_in_mid_call_are_a_retryable_error_and_a_retry_answers(tmp_path: Path) -> None:
    port = free_port()
    tools = Tools(tmp_path / "unused.db")
    tools.url = f"http://127.0.0.1:{port}"
    async with model_server(asks_first) as model, running(settings(tmp_path), model, tools) as gateway:
        async with tools_service(tmp_path / "tools", port) as process:
            await connect(gateway, tmp_path / "music.db")
            told = []
            body = {"agent": "data-analyst", "message": "How many albums are there?"}
            async with gateway.client.stream("POST", CHAT, json=body) as answer:
                async for event in events(answer):
                    told.append(event)
                    if event[0] == "tool_call":
                        await asyncio.sleep(
                            1
                        )  # a call has no sign of its own that it has reached the database
                        process.send_signal(signal.SIGKILL)
        name, error = told[-1]
        assert "tool_result" not in dict(told)
        assert (name, error["code"], error["retryable"]) == ("error", "tools_unavailable", True)
        model.script = lambda _: Reply("There are 3 albums.")
        async with tools_service(tmp_path / "tools", port):
            again = await gateway.chat("", retry=told[0][1]["message_id"])
        assert again[-1][0] == "done"
