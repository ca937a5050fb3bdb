"""Where the steps of a run are kept, so that it can go on: a SQLite file of its own, or PostgreSQL.

Never the gateway's own database file: two writers on one SQLite file lock each other out.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path

import aiosqlite
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from psycopg import AsyncConnection
from psycopg.rows import dict_row
from psycopg_pool import AsyncConnectionPool

SERIALISER = JsonPlusSerializer(allowed_msgpack_modules=None)
"""None allows only the built-in list of safe types, as LANGGRAPH_STRICT_MSGPACK does: else whoever can write
the file can run code here."""


@asynccontextmanager
async def open_sqlite(path: Path) -> AsyncIterator[BaseCheckpointSaver[str]]:
    path.parent.mkdir(parents=True, exist_ok=True)
    async with aiosqlite.connect(path) as connection:
        await connection.execute("PRAGMA journal_mode=WAL")
        await connection.execute("PRAGMA busy_timeout=5000")
        # What is deleted is overwritten: a run's steps hold what somebody said.
        await connection.execute("PRAGMA secure_delete=ON")
        saver = AsyncSqliteSaver(connection, serde=SERIALISER)
        await saver.setup()
        yield saver


@asynccontextmanager
async def open_postgres(url: str) -> AsyncIterator[BaseCheckpointSaver[str]]:
    """`url` in libpq's form, `postgresql://...`."""
    settings = {"autocommit": True, "prepare_threshold": 0, "row_factory": dict_row}
    pool: AsyncConnectionPool[AsyncConnection[dict[str, object]]] = AsyncConnectionPool(
        url, min_size=1, max_size=8, open=False, kwargs=settings
    )
    async with pool:
        saver = AsyncPostgresSaver(pool, serde=SERIALISER)
        await saver.setup()
        yield saver


async def forget(saver: BaseCheckpointSaver[str], run_id: str) -> None:
    """Deletes the steps of a run that reached its end."""
    await saver.adelete_thread(run_id)


async def kept(saver: BaseCheckpointSaver[str]) -> set[str]:
    """Runs that have steps. Each has one with its input."""
    begun = saver.alist(None, filter={"source": "input"})
    return {one.config["configurable"]["thread_id"] async for one in begun}


async def erase(saver: BaseCheckpointSaver[str], run_ids: Iterable[str]) -> None:
    """Deletes the steps of runs that may go on no more, out of the write-ahead log too."""
    for run_id in run_ids:
        await saver.adelete_thread(run_id)
    if isinstance(saver, AsyncSqliteSaver):
        await saver.conn.execute("PRAGMA wal_checkpoint(TRUNCATE)")
