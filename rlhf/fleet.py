"""Several workers on one PostgreSQL record: each takes over what a dead one left.

A worker holds an advisory lock of its own name for as long as its connection lives, and the server drops that
as soon as the process is gone; there is no clock to agree on.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from dbos import DBOS

_log = logging.getLogger(__name__)
LOCK = "SELECT pg_try_advisory_lock(hashtextextended(%s, 0))"
UNLOCK = "SELECT pg_advisory_unlock(hashtextextended(%s, 0))"


class Member:
    """A worker among others; `name` is its executor in the record."""

    def __init__(self, name: str, connection: psycopg.Connection[Any]) -> None:
        self.name, self._connection = name, connection

    def take_over(self) -> None:
        """Queue again what dead workers were doing; who of us is first has it.

        Raises:
            psycopg.OperationalError: our connection is gone, and with it our lock; the worker has to end.
        """
        self._connection.execute("SELECT 1")
        pending = DBOS.list_workflows(status=["PENDING"], load_input=False, load_output=False)
        for other in sorted({str(w.executor_id) for w in pending} - {self.name}):
            if self._locked(other):
                try:
                    DBOS._recover_pending_workflows([other])
                    _log.warning("took over from a dead worker", extra={"worker": other})
                finally:
                    self._connection.execute(UNLOCK, [_scoped(other)])

    def claim(self) -> None:
        """Hold the lock of our own name."""
        if not self._locked(self.name):
            raise RuntimeError(f"another worker is named {self.name}")

    def _locked(self, name: str) -> bool:
        row = self._connection.execute(LOCK, [_scoped(name)]).fetchone()
        return bool(row and row[0])


@contextmanager
def member(url: str, name: str) -> Iterator[Member]:
    """Join the workers of a database."""
    address = url.replace("postgresql+psycopg://", "postgresql://")
    with contextlib.closing(psycopg.connect(address, autocommit=True)) as connection:
        found = Member(name, connection)
        found.claim()
        yield found


def _scoped(name: str) -> str:
    return f"loopyard worker {name}"
