"""Models that have left the catalog: closed when the last request and the last sequence are through."""

import logging
import threading
import time

from llm_server.catalog import ChatModel, Entry

log = logging.getLogger(__name__)
GLANCE = 0.2
"""Seconds between two looks at whether the server is shutting down."""


class Retirement:
    """One thread a model. There is no deadline: nothing that runs is cut off by an edit."""

    def __init__(self, patience: float) -> None:
        """After `patience` seconds the log says that a model is still in use, and takes memory."""
        self._patience = patience
        self._stopping = threading.Event()
        self._threads: list[threading.Thread] = []

    def retire(self, entry: Entry) -> None:
        """Close a model in the background, once nobody holds it."""
        self._threads = [thread for thread in self._threads if thread.is_alive()]
        thread = threading.Thread(target=self._drain, args=(entry,), name=f"retire-{entry.id}", daemon=True)
        self._threads.append(thread)
        thread.start()

    @property
    def count(self) -> int:
        """Models that are still in use."""
        return sum(thread.is_alive() for thread in self._threads)

    def close(self) -> None:
        """The server ends: close them now."""
        self._stopping.set()
        for thread in self._threads:
            thread.join()

    def _drain(self, entry: Entry) -> None:
        began, told = time.monotonic(), False
        while not self._is_through(entry) and not self._stopping.is_set():
            if not told and time.monotonic() - began > self._patience:
                log.warning("a model that was replaced is still in use", extra={"model": entry.id})
                told = True
        entry.close()
        log.info("closed", extra={"model": entry.id, "seconds": round(time.monotonic() - began, 3)})

    def _is_through(self, entry: Entry) -> bool:
        """No request holds it, and then no sequence runs in it. Waits a moment for either."""
        if not entry.uses.close(GLANCE):
            return False
        return not isinstance(entry, ChatModel) or entry.engine.drain(GLANCE)
