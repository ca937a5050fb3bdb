"""Brings the gateway's database to the newest schema, at every start."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from gateway.db.database import Database
from gateway.errors import GatewayError

MIGRATIONS = Path(__file__).parent.parent / "migrations"


class NewerSchema(GatewayError):
    """The database was written by a newer version."""


def configuration() -> Config:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    return config


async def migrate(database: Database) -> None:
    """Upgrades to the head; a SQLite file is copied beside itself first.

    Raises NewerSchema for a revision that this version does not know.
    """
    async with database.engine.connect() as connection:
        current = await connection.run_sync(_revision)
    script = ScriptDirectory.from_config(configuration())
    known, head = {revision.revision for revision in script.walk_revisions()}, script.get_current_head()
    if current and current not in known:
        raise NewerSchema(
            f"The database has revision {current}, which this version does not know (newest: {head}). "
            "Start the version that wrote it, or restore a backup."
        )
    if current == head:
        return
    if current and database.is_sqlite and database.url.database:
        await asyncio.to_thread(_backup, Path(database.url.database), current)
    async with database.engine.begin() as connection:
        await connection.run_sync(_upgrade)


def _revision(connection: Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()


def _backup(path: Path, revision: str) -> None:
    target = path.with_suffix(f".before-{revision}.db")
    with sqlite3.connect(path) as source, sqlite3.connect(target) as copy:
        source.backup(copy)
    source.close()
    copy.close()


def _upgrade(connection: Connection) -> None:
    config = configuration()
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
