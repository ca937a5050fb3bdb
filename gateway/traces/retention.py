"""Keeps traces for so many days, and gives the space of the others back."""

from __future__ import annotations

import asyncio
import logging
from functools import partial

from gateway.traces.database import TraceDatabase
from gateway.traces.errors import Busy
from gateway.traces.removal import Removed, give_back, remove_older
from gateway.traces.values import now

EVERY = 600.0
"""Seconds between two rounds."""
DAY = 86_400_000_000
"""Microseconds."""

_log = logging.getLogger(__name__)


async def sweep(database: TraceDatabase, before: int) -> Removed:
    """Removes what began before a time (microseconds), a little at a time between the writes of others."""
    removed = Removed()
    while (more := await database.write(partial(remove_older, before=before))) != Removed():
        removed += more
    if removed != Removed():
        await shrink(database)
    return removed


async def shrink(database: TraceDatabase) -> None:
    """Gives free pages back to the disk, and leaves nothing of what they held in the write-ahead log."""
    while await database.write(give_back):
        pass
    await database.empty_log()


async def keep(database: TraceDatabase, days: int) -> None:
    """Sweeps again and again, until it is cancelled."""
    while True:
        try:
            removed = await sweep(database, now() - days * DAY)
            if removed != Removed():
                _log.info("old traces were removed", extra={"traces": removed.traces})
        except Busy:
            pass  # others come first; the next round will do it
        except Exception:
            _log.exception("old traces could not be removed")
        await asyncio.sleep(EVERY)
