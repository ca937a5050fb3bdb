"""The schema: what the migrations make is what the code maps, on both databases."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, text

from gateway.__main__ import main
from gateway.db.base import Base
from gateway.db.database import Database, unbroken
from gateway.db.migrate import NewerSchema, configuration, migrate
from gateway.scores.store import oldest


@pytest.fixture
def url(database_url: str, tmp_path: Path) -> str:
    return database_url or f"sqlite+aiosqlite:///{tmp_path / 'gateway.db'}"


async def test_migrations_make_what_the_code_maps(url: str) -> None:
    database = Database(url)
    await migrate(database)
    await migrate(database)  # the second time there is nothing to do

    def differences(connection: Connection) -> list[object]:
        return list(compare_metadata(MigrationContext.configure(connection), Base.metadata))

    async with database.engine.connect() as connection:
        assert await connection.run_sync(differences) == []
    await database.close()


FEEDBACK_OF_BEFORE = """
INSERT INTO accounts (id, created_at, name) VALUES ('a', CURRENT_TIMESTAMP, 'a');
INSERT INTO users (id, created_at, account_id, name, role) VALUES ('u', CURRENT_TIMESTAMP, 'a', 'u', 'admin');
INSERT INTO projects (id, created_at, account_id, name, title, icon, colour)
VALUES ('p', CURRENT_TIMESTAMP, 'a', 'p', 'p', '', '');
INSERT INTO conversations (id, created_at, project_id, user_id, title, agent, updated_at)
VALUES ('c', CURRENT_TIMESTAMP, 'p', 'u', 't', 'g', CURRENT_TIMESTAMP);
INSERT INTO messages
(id, created_at, conversation_id, role, content, state, agent, trace_id, generation_id, steps, sources) VALUES
('m', CURRENT_TIMESTAMP, 'c', 'assistant', '', 'complete', 'g', 'trace', '0123456789abcdef', '[]', '[]'),
('n', CURRENT_TIMESTAMP, 'c', 'assistant', '', 'complete', 'g', 'other', '0123456789abcdef', '[]', '[]');
INSERT INTO feedback (id, created_at, updated_at, message_id, user_id, thumb, comment, spooled_at)
VALUES ('f', CURRENT_TIMESTAMP, CURRENT_TIMESTAMP, 'm', 'u', 'down', 'Hm.', NULL),
('g', CURRENT_TIMESTAMP, CURRENT_TIMESTAMP, 'n', 'u', 'up', NULL, CURRENT_TIMESTAMP)
"""


async def test_scores_that_waited_before_the_upgrade_still_do(url: str) -> None:
    database = Database(url)

    def before(connection: Connection) -> None:
        config = configuration()
        config.attributes["connection"] = connection
        command.upgrade(config, "0005")
        for statement in FEEDBACK_OF_BEFORE.split(";"):
            connection.execute(text(statement))

    async with database.engine.begin() as connection:
        await connection.run_sync(before)
    await migrate(database)
    async with database.read() as session:
        (change,) = await oldest(session, 10)
    about = {"traceId": "trace", "observationId": "0123456789abcdef", "metadata": {"message_id": "m"}}
    thumbs = {"id": "f-thumbs", "name": "thumbs", "dataType": "BOOLEAN", "value": 0}
    comment = {"id": "f-comment", "name": "comment", "dataType": "TEXT", "value": "Hm."}
    assert (change.scores, change.gone) == ([about | thumbs, about | comment], [])
    await database.close()


async def test_a_newer_schema_is_refused(url: str) -> None:
    database = Database(url)
    await migrate(database)
    async with database.write() as session:
        await session.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(NewerSchema, match=r"9999.*newest: \d{4}"):
        await migrate(database)
    await database.close()


async def test_sqlite_waits_for_other_writers(tmp_path: Path) -> None:
    database = Database(f"sqlite+aiosqlite:///{tmp_path / 'gateway.db'}")
    async with database.write() as session:
        await session.execute(text("CREATE TABLE t (n INTEGER)"))

    async def add() -> None:
        async with database.write() as session:
            await session.execute(text("SELECT COUNT(*) FROM t"))
            await session.execute(text("INSERT INTO t VALUES (1)"))

    await asyncio.gather(*(add() for _ in range(20)))
    async with database.read() as session:
        assert await session.scalar(text("SELECT COUNT(*) FROM t")) == 20
        assert await session.scalar(text("PRAGMA journal_mode")) == "wal"
    await database.close()


async def test_a_unit_of_work_ends_although_its_caller_is_cancelled(tmp_path: Path) -> None:
    database = Database(f"sqlite+aiosqlite:///{tmp_path / 'gateway.db'}")
    async with database.write() as session:
        await session.execute(text("CREATE TABLE t (n INTEGER)"))
    begun = asyncio.Event()

    @unbroken
    async def add() -> None:
        async with database.write() as session:
            begun.set()
            await session.execute(text("INSERT INTO t VALUES (1)"))

    task = asyncio.create_task(add())
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with database.write() as session:
        assert await session.scalar(text("SELECT COUNT(*) FROM t")) == 1
    await database.close()


def test_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GATEWAY_DATA", str(tmp_path))
    assert main(["migrate"]) == 0
    assert (tmp_path / "gateway" / "gateway.db").exists()
    with pytest.raises(SystemExit, match="2"):
        main(["fly"])
    assert "invalid choice: 'fly'" in capsys.readouterr().err
    monkeypatch.setenv("GATEWAY_PORT", "eighty")
    assert main(["serve"]) == 2
    assert "port" in capsys.readouterr().err
