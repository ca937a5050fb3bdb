"""The registry's decisions where asking it takes long: nobody else waits meanwhile."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from pathlib import Path
from typing import cast

import httpx2
import pytest

from gateway.errors import Conflict
from gateway.jobs.service import JobService
from gateway.models.server import AdapterServer
from gateway.models.service import ModelRegistry
from gateway.models.shelf import Shelf
from rlhf.registry import LIVE, Registry
from tests.llm_server.adapters.making import make_adapter


class Blocking(Registry):
    """As one that asks a server first."""

    asked = 0

    def aliases(self, name: str) -> dict[str, str]:
        with suppress(RuntimeError):
            asyncio.get_running_loop()
            raise AssertionError("the event loop waits for the registry")
        self.asked += 1
        return super().aliases(name)


async def test_the_event_loop_never_waits_for_what_names_mean(tmp_path: Path) -> None:
    registry = Blocking(tmp_path)
    made = [make_adapter(tmp_path / f"made-{number}", number) for number in (1, 2, 3)]
    added = [await asyncio.to_thread(registry.add, "citing", folder, {}, []) for folder in made]
    first, second, third = added
    for version in (first, second):
        await asyncio.to_thread(registry.promote, version)
    card = {"name": "citing", "aliases": {"stable": first.digest}, "versions": []}
    answer = httpx2.MockTransport(lambda _: httpx2.Response(200, json={"data": [card]}))
    async with httpx2.AsyncClient(transport=answer) as client:
        server = AdapterServer(client, "http://models/v1", "key")
        models = ModelRegistry(
            Shelf(registry), server, cast(JobService, None), tmp_path / "incoming", 1 << 20
        )
        assert "live" in await models.card("citing", LIVE)
        assert (await models.rollback("citing")).live == first.digest
        with pytest.raises(Conflict, match="is live: deploy another version first"):
            await models.delete("citing", first.short)
        await models.delete("citing", third.short)
    assert {version.digest for version in registry.versions("citing")} == {first.digest, second.digest}
    assert registry.asked
