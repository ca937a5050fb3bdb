"""Blocking work off the event loop, without leaving it behind when the caller goes away."""

import asyncio
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


async def in_thread(
    work: Callable[..., T], *arguments: object, stop: Callable[[], object] | None = None
) -> T:
    """Run `work` in a thread. A cancelled caller calls `stop` and still waits for the thread to end.

    So nothing that a thread writes can land after its caller has cleaned up.
    """
    running = asyncio.ensure_future(asyncio.to_thread(work, *arguments))
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        if stop is not None:
            stop()
        await asyncio.wait([running])
        if not running.cancelled():
            running.exception()
        raise
