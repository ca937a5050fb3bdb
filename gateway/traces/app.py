"""The trace store as a process of its own: `python -m gateway traces`."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

from starlette.applications import Starlette

from gateway.lock import only_one
from gateway.traces import endpoints, errors
from gateway.traces.database import TraceDatabase
from gateway.traces.keys import KeyRing, open_key_file
from gateway.traces.retention import keep
from gateway.traces.session import Store
from gateway.traces.settings import Settings


def create_app(settings: Settings) -> Starlette:
    """Opens the file when its lifespan begins; CommandError where another process has it."""

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        settings.folder.mkdir(parents=True, exist_ok=True)
        settings.folder.chmod(0o700)  # what people asked and were answered
        with only_one(settings.folder / "traces.lock", f"The trace store {settings.folder}"):
            pairs = open_key_file(settings.key_file, settings.project)
            database = TraceDatabase(settings.folder / "traces.sqlite")
            try:
                numbers = {
                    pair.project_id: await database.write(partial(number_of, project_id=pair.project_id))
                    for pair in pairs
                }
                limit = settings.body_megabytes << 20
                app.state.store = Store(database, KeyRing(pairs), numbers, limit)
                async with _keeping(database, settings.keep_days):
                    yield
            finally:
                database.close()

    app = Starlette(routes=[*endpoints.ROUTES, *endpoints.LAST], lifespan=lifespan)
    for kind in endpoints.ERRORS:
        app.add_exception_handler(kind, errors.handle)
    return app


@asynccontextmanager
async def _keeping(database: TraceDatabase, days: int) -> AsyncIterator[None]:
    if not days:
        yield
        return
    task = asyncio.create_task(keep(database, days))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


def number_of(connection: sqlite3.Connection, project_id: str) -> int:
    """A project's number in the file, which it gets when it is first seen."""
    connection.execute("INSERT OR IGNORE INTO projects (key) VALUES (?)", (project_id,))
    (found,) = connection.execute("SELECT id FROM projects WHERE key = ?", (project_id,)).fetchone()
    return int(found)
