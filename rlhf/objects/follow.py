"""A thread that lets local copies follow the bucket: what was deleted or changed elsewhere is so here too."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from rlhf.objects.depots import Depots
from rlhf.objects.registry import SharedRegistry, registry_of
from rlhf.objects.settings import Settings

SECONDS = 60.0
"""Pause between two looks."""

_log = logging.getLogger(__name__)


@contextmanager
def following(depots: Depots, settings: Settings, *, adopts: bool = False) -> Iterator[None]:
    """Follow while the block lasts. `adopts`: first keep what is only here yet."""
    stop = threading.Event()
    if settings.is_on:
        # Its requests may wait for a server that does not answer, and the end must not wait for them.
        threading.Thread(target=_follow, args=(depots, stop, adopts), daemon=True).start()
    try:
        yield
    finally:
        stop.set()


def _follow(depots: Depots, stop: threading.Event, adopts: bool) -> None:
    owed = adopts
    while not stop.is_set():
        try:
            if owed:
                depots.adopt()
                registry = registry_of(depots.models.root.parent, depots.models)
                if isinstance(registry, SharedRegistry):
                    registry.adopt()
                owed = False
            depots.settle()
        except Exception as error:  # whatever somebody has put into the bucket: the next look may go well
            _log.warning("local copies do not follow the object store", extra={"why": repr(error)})
        stop.wait(SECONDS)
