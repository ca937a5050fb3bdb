"""Models that have left the catalog: closed when the last request and the last sequence are through, or when
they have had long enough.
"""

import logging
import threading
import time

from llm_server.catalog import ChatModel, Entry
from llm_server.engine.engine import Engine
from llm_server.engine.sequence import Failed
from llm_server.errors import LlmServerError, ModelReplaced
from llm_server.memory import give_back

log = logging.getLogger(__name__)
GLANCE = 0.2
"""Seconds between two looks at whether the server is shutting down."""
GRACE = 5.0
"""Seconds for a request whose sequences have been ended; one whose client does not read is not waited for."""


class Retirement:
    """One thread a model."""

    def __init__(self, patience: float) -> None:
        """After `patience` seconds what still runs is ended: clients are told to try again."""
        self._patience = patience
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._leaving: list[tuple[Entry, threading.Thread]] = []
        """Taken out by the threads themselves: nothing here keeps a model alive that is closed."""

    def retire(self, entry: Entry) -> None:
        """Close a model in the background, once nobody holds it."""
        thread = threading.Thread(target=self._drain, args=(entry,), name=f"retire-{entry.id}", daemon=True)
        with self._lock:
            self._leaving = [*self._leaving, (entry, thread)]
        thread.start()

    @property
    def entries(self) -> list[Entry]:
        """Models that are still in use."""
        return [entry for entry, _ in self._leaving]

    def close(self) -> None:
        """The server ends: close them now."""
        self._stopping.set()
        for _, thread in self._leaving:
            thread.join()

    def _drain(self, entry: Entry) -> None:
        try:
            self._close_when_through(entry)
        finally:
            with self._lock:
                self._leaving = [pair for pair in self._leaving if pair[0] is not entry]
            del entry
            give_back()

    def _close_when_through(self, entry: Entry) -> None:
        began = time.monotonic()
        if not self._is_through_by(entry, began + self._patience) and not self._stopping.is_set():
            log.warning("a model that was replaced is still in use and is ended", extra={"model": entry.id})
            if isinstance(entry, ChatModel):
                _end_all(entry.engine, ModelReplaced(entry.id))
            self._is_through_by(entry, time.monotonic() + GRACE)
        entry.close()
        log.info("closed", extra={"model": entry.id, "seconds": round(time.monotonic() - began, 3)})

    def _is_through_by(self, entry: Entry, deadline: float) -> bool:
        """Whether it came to that before the deadline, and before the server ends."""
        while not self._is_through(entry):
            if time.monotonic() > deadline or self._stopping.is_set():
                return False
        return True

    def _is_through(self, entry: Entry) -> bool:
        """No request holds it, and then no sequence runs in it. Waits a moment for either."""
        if not entry.uses.close(GLANCE):
            return False
        return not isinstance(entry, ChatModel) or entry.engine.drain(GLANCE)


def _end_all(engine: Engine, error: LlmServerError) -> None:
    """Every sequence of an engine ends with an error that its client sees; new ones are not accepted."""
    engine.drain(0)

    def end() -> None:
        for sequence in (*engine.scheduler.running, *engine.scheduler.waiting):
            sequence.sink(Failed(error))
            engine.cancel(sequence)

    engine.between_steps(end)
