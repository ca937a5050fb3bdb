"""One SQLite file: one thread that writes, a few that read.

Writes that wait together are committed together, and a write is acknowledged when its commit is on disk
(WAL with synchronous=FULL). A read that begins after an acknowledgement sees what was acknowledged.
"""

from __future__ import annotations

import asyncio
import queue
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from gateway.traces.errors import Busy
from gateway.traces.schema import FILL_SESSIONS, FROM_1, TABLES, VERSION

T = TypeVar("T")
Work = Callable[[sqlite3.Connection], T]
TOGETHER = 64
"""Most writes in one commit."""
WAITING = 256
"""Most writes that may wait; more are refused and tried again by the client."""
READERS = 4
READER_CACHE, WRITER_CACHE = 8_000, 32_000
"""Kilobytes of pages that a connection keeps."""
LOG_PAGES = 4_000
"""Pages in the write-ahead log before they are moved into the file: pages that many commits change (the ends
of the indexes) are then moved once."""
INCREMENTAL = 2
"""SQLite's number for the mode in which free pages can be given back a few at a time."""

_Job = tuple[Work[Any], "Future[Any]"]


class NewerStore(Exception):
    """The file was written by a newer version."""


class TraceDatabase:
    """Opens `path`, making it where it is missing. Raises NewerStore."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._writer = _connect(path, WRITER_CACHE)
        _prepare(self._writer, path)
        self._jobs: queue.Queue[_Job | None] = queue.Queue(WAITING)
        self._thread = threading.Thread(target=self._write_all, name="trace-writer", daemon=True)
        self._thread.start()
        self._readers = ThreadPoolExecutor(READERS, "trace-reader")
        self._local = threading.local()
        self._opened: list[sqlite3.Connection] = []

    async def write(self, work: Work[T]) -> T:
        """Runs work on the writing connection; returns when it is committed.

        Raises Busy, and whatever the work raises; then nothing of it was written.
        """
        done: Future[T] = Future()
        try:
            self._jobs.put_nowait((work, done))
        except queue.Full:
            raise Busy("Too much waits to be written. Try again.") from None
        return await asyncio.wrap_future(done)

    async def read(self, work: Work[T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._readers, self._with_reader, work)

    async def empty_log(self) -> None:
        """Moves the write-ahead log into the file and leaves nothing of it, deleted texts included."""
        await asyncio.get_running_loop().run_in_executor(self._readers, self._empty_log)

    def _empty_log(self) -> None:
        connection = _connect(self._path, READER_CACHE)
        try:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        finally:
            connection.close()

    def close(self) -> None:
        """Writes what still waits, then closes the file."""
        self._jobs.put(None)
        self._thread.join()
        self._readers.shutdown()
        for connection in (*self._opened, self._writer):
            connection.close()

    def _with_reader(self, work: Work[T]) -> T:
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = self._local.connection = _connect(self._path, READER_CACHE)
            connection.execute("PRAGMA query_only = ON")
            self._opened.append(connection)
        connection.execute("BEGIN")  # one state of the file for all statements of the answer
        try:
            return work(connection)
        finally:
            connection.execute("COMMIT")

    def _write_all(self) -> None:
        while (job := self._jobs.get()) is not None:
            jobs: list[_Job] = [job]
            ends = False
            while len(jobs) < TOGETHER and not ends:
                try:
                    more = self._jobs.get_nowait()
                except queue.Empty:
                    break
                if more is None:
                    ends = True
                else:
                    jobs.append(more)
            self._commit(jobs)
            if ends:
                return

    def _commit(self, jobs: list[_Job]) -> None:
        writer = self._writer
        results: list[tuple[Future[Any], Any, BaseException | None]] = []
        try:
            writer.execute("BEGIN IMMEDIATE")
            for work, done in jobs:
                results.append((done, *_attempt(writer, work)))
            writer.execute("COMMIT")
        except Exception as error:  # whatever it is, those who wait must hear of it and the thread goes on
            if writer.in_transaction:
                writer.execute("ROLLBACK")
            results = [(done, None, error) for _, done in jobs]
        for done, result, failure in results:
            if not done.set_running_or_notify_cancel():
                continue
            if failure:
                done.set_exception(failure)
            else:
                done.set_result(result)


def _attempt(writer: sqlite3.Connection, work: Work[Any]) -> tuple[Any, BaseException | None]:
    """One write among several: its failure undoes itself only."""
    writer.execute("SAVEPOINT one")
    try:
        result = work(writer)
    except Exception as error:
        if writer.in_transaction:  # a full disk rolls the whole transaction back by itself
            writer.execute("ROLLBACK TO one")
            writer.execute("RELEASE one")
            return None, error
        raise
    writer.execute("RELEASE one")
    return result, None


def _connect(path: Path, cache: int) -> sqlite3.Connection:
    connection = sqlite3.connect(path, check_same_thread=False, isolation_level=None, timeout=10)
    connection.row_factory = sqlite3.Row
    # auto_vacuum comes first: it is taken by an empty file only, and the log's mode writes the first page.
    # secure_delete: what is deleted is overwritten where that costs no extra page.
    for pragma in (
        *(f"auto_vacuum={INCREMENTAL}", "journal_mode=WAL", "synchronous=FULL", f"cache_size=-{cache}"),
        *("temp_store=MEMORY", "secure_delete=FAST", f"wal_autocheckpoint={LOG_PAGES}"),
        "journal_size_limit=67108864",
    ):
        connection.execute(f"PRAGMA {pragma}")
    return connection


def _prepare(writer: sqlite3.Connection, path: Path) -> None:
    (found,) = writer.execute("PRAGMA user_version").fetchone()
    if found > VERSION:
        writer.close()
        raise NewerStore(f"{path} has version {found}; this version of Loopyard reads up to {VERSION}.")
    if found == 0:
        writer.executescript(f"BEGIN; {TABLES} PRAGMA user_version = {VERSION}; COMMIT;")
    elif found == 1:
        missing = TABLES.replace("CREATE TABLE", "CREATE TABLE IF NOT EXISTS")
        missing = missing.replace("CREATE INDEX", "CREATE INDEX IF NOT EXISTS")
        steps = f"{FROM_1} {missing} {FILL_SESSIONS} PRAGMA user_version = {VERSION};"
        writer.executescript(f"BEGIN; {steps} COMMIT;")
    if writer.execute("PRAGMA auto_vacuum").fetchone()[0] != INCREMENTAL:
        writer.execute(f"PRAGMA auto_vacuum={INCREMENTAL}")
        writer.execute("VACUUM")
