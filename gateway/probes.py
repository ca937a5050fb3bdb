"""How the supervisor learns that a service is ready, and later that it still answers."""

import json
import time
from pathlib import Path
from typing import Protocol

import httpx

BEAT_LIMIT = 15.0  # seconds after which a heartbeat counts as missing


class Probe(Protocol):
    """Looks at a service from outside."""

    async def ready(self, pid: int) -> bool:
        """Whether the service that runs as `pid` can do its work."""

    async def alive(self, pid: int) -> bool:
        """Whether it answers at all, be it that it is loading or overloaded."""


class HttpProbe:
    """Asks a health address: 200 is ready, any answer is alive."""

    def __init__(self, url: str, timeout: float = 5.0) -> None:
        self._url = url
        self._timeout = timeout

    async def ready(self, pid: int) -> bool:
        return await self._status() == 200

    async def alive(self, pid: int) -> bool:
        return await self._status() is not None

    async def _status(self) -> int | None:
        try:
            # A proxy from the environment could not reach our loopback.
            async with httpx.AsyncClient(trust_env=False, timeout=self._timeout) as client:
                return (await client.get(self._url)).status_code
        except httpx.HTTPError:
            return None


class HeartbeatProbe:
    """Reads a file `{"pid", "time"}` that a service without a port writes every few seconds."""

    def __init__(self, path: Path) -> None:
        self._path = path

    async def ready(self, pid: int) -> bool:
        try:
            beat = json.loads(self._path.read_text())
            return bool(beat["pid"] == pid and time.time() - beat["time"] < BEAT_LIMIT)
        except (OSError, ValueError, KeyError, TypeError):
            return False

    async def alive(self, pid: int) -> bool:
        return await self.ready(pid)
