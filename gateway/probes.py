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
        return beating(self._path) == pid

    async def alive(self, pid: int) -> bool:
        return await self.ready(pid)


def beating(path: Path) -> int | None:
    """The process whose heartbeat is in a file; None where there is none, or it has stopped."""
    try:
        beat = json.loads(path.read_text())
        return int(beat["pid"]) if time.time() - beat["time"] < BEAT_LIMIT else None
    except (OSError, ValueError, KeyError, TypeError):
        return None
