"""A disk that fills while an answer streams, and one that is full before the question."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.gateway.conftest import clerk
from tests.gateway.service import Gateway, Told, events, neighbours, running, settings, until

CHAT = "/api/v1/projects/demo/chat"


@dataclass
class SmallDisk:
    """A file system of 16 MB that the gateway has for itself."""

    folder: Path

    def fill(self) -> None:
        filler = (self.folder / "filler").open("wb", buffering=0)
        with filler, contextlib.suppress(OSError):
            while True:
                filler.write(b"x" * 4096)

    def free(self) -> None:
        (self.folder / "filler").unlink(missing_ok=True)


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SmallDisk]:
    folder = tmp_path_factory.mktemp("disk")
    mount = ["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("A small disk cannot be mounted: that needs root.")
    yield SmallDisk(folder)
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def on_disk(disk: SmallDisk, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Gateway]:
    folder = tmp_path_factory.mktemp("neighbours")
    chosen = settings(disk.folder)
    async with neighbours(folder, clerk) as (model, tools), running(chosen, model, tools) as up:
        yield up


@pytest_asyncio.fixture(loop_scope="module")
async def gateway(on_disk: Gateway, disk: SmallDisk) -> AsyncIterator[Gateway]:
    """An empty gateway on a disk with room."""
    await on_disk.empty(clerk)
    yield on_disk
    disk.free()


async def cut_short(gateway: Gateway, disk: SmallDisk) -> dict[str, Any]:
    """The start of an answer whose disk is full from its third word on; the reader was told so."""
    told: Told = []
    async with gateway.client.stream("POST", CHAT, json={"agent": "general", "message": "Be slow"}) as answer:
        async for event in events(answer):
            told.append(event)
            if sum(name == "token" for name, _ in told) == 3:
                disk.fill()
    name, error = told[-1]
    assert (name, error["code"], error["status"], error["retryable"]) == ("error", "storage_full", 507, True)
    assert "Free some space" in error["message"]
    return told[0][1]


async def last(gateway: Gateway, start: dict[str, Any]) -> dict[str, Any]:
    """The answer as it is stored."""
    address = f"/api/v1/projects/demo/conversations/{start['conversation_id']}"
    messages = (await gateway.client.get(address)).json()["messages"]
    return next(m for m in messages if m["id"] == start["message_id"])


async def test_a_disk_that_fills_in_mid_answer_is_told_and_a_retry_answers(
    gateway: Gateway, disk: SmallDisk
) -> None:
    start = await cut_short(gateway, disk)
    again = {"retry": start["message_id"]}
    refused = await gateway.client.post(CHAT, json=again)
    assert (refused.status_code, refused.json()["error"]["code"]) == (507, "storage_full")
    disk.free()
    gateway.model.script = lambda body: clerk({**body, "messages": [{"role": "user", "content": "Hi"}]})
    assert (await gateway.chat("", **again))[-1][0] == "done"
    answer = await last(gateway, start)
    assert (answer["state"], answer["error"]) == ("complete", None)


async def test_the_conversation_goes_on_when_there_is_room_again(gateway: Gateway, disk: SmallDisk) -> None:
    start = await cut_short(gateway, disk)
    disk.free()
    told = await gateway.chat("Hello", conversation_id=start["conversation_id"])
    assert told[-1][0] == "done"
    answer = await last(gateway, start)
    assert (answer["state"], answer["error"]["code"]) == ("failed", "storage_full")
    assert answer["content"].startswith("word word word")


async def test_what_was_said_is_stored_though_nobody_asks_again(gateway: Gateway, disk: SmallDisk) -> None:
    start = await cut_short(gateway, disk)
    assert (await last(gateway, start))["state"] == "running"
    disk.free()

    async def stored() -> bool:
        return bool((await last(gateway, start))["state"] == "failed")

    await until(stored)
    assert (await last(gateway, start))["content"].startswith("word word word")


async def test_a_disk_that_is_full_before_refuses_the_question(gateway: Gateway, disk: SmallDisk) -> None:
    disk.fill()
    refused = await gateway.client.post(CHAT, json={"agent": "general", "message": "Hello"})
    assert refused.status_code == 507
    assert refused.json()["error"]["code"] == "storage_full"
    assert (await gateway.client.get("/api/v1/projects/demo/conversations")).json()["items"] == []
    disk.free()
    assert (await gateway.chat("Hello"))[-1][0] == "done"
