"""Looks at the servers of all upstreams, whether anybody asks for their models or not."""

import asyncio
import contextlib
import random
from collections.abc import Callable, Iterable

from llm_server.upstreams.pool import Pool, Server

TICK_SECONDS = 0.25
JITTER = 0.2
"""Of an interval, either way: servers are not asked by all who use them at once."""


async def probe(pools: Callable[[], Iterable[Pool]], stop: asyncio.Event) -> None:
    """Until `stop`: each server about every `probe_s` seconds of its pool, at once where it is new."""
    running: set[asyncio.Task[None]] = set()
    now = asyncio.get_running_loop().time
    while not stop.is_set():
        for pool in pools():
            for server in pool.servers if pool.probe_s else ():
                if now() < server.probe_at:
                    continue
                server.probe_at = now() + pool.probe_s * random.uniform(1 - JITTER, 1 + JITTER)
                task = asyncio.create_task(_look(pool, server))
                running.add(task)
                task.add_done_callback(running.discard)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), TICK_SECONDS)
    for task in running:
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)


async def _look(pool: Pool, server: Server) -> None:
    """What httpx says of a client that an edit has closed meanwhile is no news."""
    with contextlib.suppress(RuntimeError):
        await pool.probe(server)
