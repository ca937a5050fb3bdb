"""What the trace store knows of a user, and how it forgets them."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import httpx2

from gateway.errors import UpstreamFailed
from gateway.settings import Settings
from gateway.traces.sink import sink_of

SECONDS = 600.0
"""For the trace store: it deletes a little at a time."""
DELIVERY_SECONDS = 30.0
"""For spans that are on their way: they would come back after the erasure."""
PAGE = 1000


class UserTraces:
    """The embedded store's. Every method raises UpstreamFailed."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    async def lineage(self, user: str) -> dict[str, Any] | None:
        """Adapters that answered a user; None where traces lie elsewhere or nowhere."""
        return await self._ours("GET", "lineage", {"userId": user})

    async def ids(self, user: str) -> frozenset[str]:
        """Of the traces that a user took part in."""
        found: set[str] = set()
        params = {"userId": user, "fields": "core", "limit": str(PAGE)}
        while page := await self._ours("GET", "v2/observations", params):
            found |= {row["traceId"] for row in page["data"]}
            if not (cursor := page["meta"]["cursor"]):
                break
            params["cursor"] = cursor
        return frozenset(found)

    async def erase(self, user: str) -> dict[str, Any] | None:
        """What was removed, and which adapters had answered; None where traces lie elsewhere or nowhere."""
        return await self._ours("DELETE", "users", {"userId": user})

    async def elsewhere(self, user: str) -> bool:
        """Whether a Langfuse server that chats are traced to has traces of a user."""
        if not self._settings.langfuse_host:
            return False
        page = await self._ask("GET", "traces", {"userId": user, "limit": "1"})
        return bool(page and page["data"])

    async def delivered(self) -> None:
        """Waits for the batches of spans that are in the spool now."""
        waiting = self._spooled()
        end = time.monotonic() + DELIVERY_SECONDS
        while waiting := [file for file in waiting if file.exists()]:
            if time.monotonic() > end:
                raise UpstreamFailed(
                    f"{len(waiting)} batches of spans still wait for the trace store; nothing was erased."
                )
            await asyncio.sleep(0.1)

    def _spooled(self) -> list[Path]:
        folder = self._settings.data.absolute() / "run" / "spool"
        return [file for file in folder.glob("*") if file.suffix != ".partial"]

    async def _ours(self, method: str, path: str, params: dict[str, str]) -> dict[str, Any] | None:
        return None if self._settings.langfuse_host else await self._ask(method, path, params)

    async def _ask(self, method: str, path: str, params: dict[str, str]) -> dict[str, Any] | None:
        sink = await asyncio.to_thread(sink_of, self._settings)
        if sink is None:
            return None
        address = f"{sink.host}/api/public/{path}"
        try:
            async with httpx2.AsyncClient(timeout=SECONDS, headers=sink.headers, trust_env=False) as client:
                answer = await client.request(method, address, params=params)
        except httpx2.HTTPError as error:
            raise UpstreamFailed(f"The trace store does not answer ({type(error).__name__}).") from error
        if answer.status_code != 200:
            raise UpstreamFailed(f"The trace store answers {answer.status_code}.")
        found: dict[str, Any] = answer.json()
        return found
