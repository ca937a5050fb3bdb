"""The gateway's own database: one engine, sessions for reading and for writing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from sqlalchemy import Connection, event, text
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine

BUSY_MS = 10_000
"""How long SQLite waits for another writer before it gives up."""


P = ParamSpec("P")
T = TypeVar("T")
_unbroken: set[asyncio.Task[Any]] = set()
"""Strong references: the event loop keeps weak ones only."""


def unbroken(method: Callable[P, Coroutine[Any, Any, T]]) -> Callable[P, Coroutine[Any, Any, T]]:
    """For a method that is one unit of work: it runs to its end even when its caller is cancelled.

    A statement that is cancelled goes on in the driver's thread, and its connection keeps the write lock of
    SQLite until somebody collects it; every other writer then waits until it gives up.
    """

    @wraps(method)
    async def call(*args: P.args, **kwargs: P.kwargs) -> T:
        task = asyncio.create_task(method(*args, **kwargs))
        _unbroken.add(task)
        task.add_done_callback(_unbroken.discard)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            await asyncio.wait([task])
            raise

    return call


class Database:
    """Sessions on SQLite or PostgreSQL.

    On SQLite a writing session begins IMMEDIATE: a transaction that reads first and writes later is refused
    at once when another one wrote in between, whatever the busy timeout says.
    """

    def __init__(self, url: str) -> None:
        self.url = make_url(url)
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        self.engine = _sqlite(url) if self.is_sqlite else create_async_engine(url, pool_pre_ping=True)
        self._writing = self.engine.execution_options(loopyard_writes=True)
        # SQLite's busy handler is not fair: under steady writes one writer can starve until it gives up.
        self._turn: AbstractAsyncContextManager[None] = asyncio.Lock() if self.is_sqlite else nullcontext()

    @property
    def libpq(self) -> str:
        """The address as PostgreSQL's own library takes it."""
        return self.url.set(drivername="postgresql").render_as_string(hide_password=False)

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncSession]:
        async with AsyncSession(self.engine, expire_on_commit=False) as session:
            yield session

    @asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncSession]:
        """One unit of work: committed at the end of the block, rolled back on an error."""
        async with (
            self._turn,
            AsyncSession(self._writing, expire_on_commit=False) as session,
            session.begin(),
        ):
            yield session

    async def ping(self) -> None:
        async with self.engine.connect() as connection:
            await connection.execute(text("SELECT 1"))

    async def empty_log(self) -> None:
        """What was deleted is gone from SQLite's log too; readers may hold that up until the next time."""
        if self.is_sqlite:
            async with self._turn, self.engine.connect() as connection:
                raw = await connection.get_raw_connection()
                done = await raw.driver_connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # type: ignore[union-attr]  # aiosqlite's
                await done.close()

    async def close(self) -> None:
        await self.engine.dispose()


def _sqlite(url: str) -> AsyncEngine:
    engine = create_async_engine(url, connect_args={"timeout": BUSY_MS / 1000})
    event.listen(engine.sync_engine, "connect", _prepare)
    event.listen(engine.sync_engine, "begin", _begin)
    return engine


def _prepare(connection: Any, _: Any) -> None:
    # Autocommit at the driver: the BEGIN below is ours, the driver's own would come too late and too weak.
    connection.isolation_level = None
    cursor = connection.cursor()
    for pragma in ("journal_mode=WAL", f"busy_timeout={BUSY_MS}", "foreign_keys=ON", "synchronous=NORMAL"):
        cursor.execute(f"PRAGMA {pragma}")
    # Builds differ in it; what is erased must not lie in free pages.
    cursor.execute("PRAGMA secure_delete=ON")
    cursor.close()


def _begin(connection: Connection) -> None:
    writes = connection.get_execution_options().get("loopyard_writes")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
