"""Database connections: tested, encrypted, never shown."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest

from tests.gateway.conftest import clerk
from tests.gateway.service import Gateway, neighbours, running, settings

DATABASES = "/api/v1/projects/demo/databases"


async def add(gateway: Gateway, name: str, url: str) -> Any:
    return await gateway.client.post(DATABASES, json={"name": name, "url": url})


async def test_a_database_is_added_listed_described_queried_and_deleted(any_gateway: Gateway) -> None:
    client = any_gateway.client
    made = await add(any_gateway, "music", f"sqlite:///{any_gateway.tools.database}")
    assert made.status_code == 201
    assert {k: made.json()[k] for k in ("name", "dialect", "tables")} == {
        "name": "music",
        "dialect": "sqlite",
        "tables": 2,
    }
    assert (await client.get(DATABASES)).json()["items"] == [made.json()]
    schema = (await client.get(f"{DATABASES}/music/schema")).json()
    assert [table["name"] for table in schema["tables"]] == ["Album", "Artist"]
    table = (await client.post(f"{DATABASES}/music/query", json={"sql": "SELECT 1 AS one"})).json()
    assert (table["columns"], table["rows"]) == (["one"], [[1]])
    assert (await client.delete(f"{DATABASES}/music")).status_code == 204
    assert (await client.get(DATABASES)).json()["items"] == []


async def test_the_address_is_encrypted_and_never_shown(gateway: Gateway) -> None:
    secret = "sqlite:////tmp/secret-password-place.db"
    assert (await add(gateway, "hidden", secret)).status_code == 201
    for path in ("", "/hidden"):
        assert "secret-password" not in (await gateway.client.get(DATABASES + path)).text
    with sqlite3.connect(gateway.settings.folder / "gateway.db") as file:
        (kept,) = file.execute("SELECT url FROM databases").fetchone()
    file.close()
    assert b"secret" not in kept
    assert gateway.settings.cipher().decrypt(kept).decode() == secret


@pytest.mark.parametrize(
    ("url", "status", "text"),
    [
        ("sqlite:////tmp/missing.db", 400, "unable to open"),
        ("nonsense", 400, "dialect://"),
        ("mongodb://x/y", 400, "Dialects: sqlite, postgresql"),
        ("sqlite://", 400, "needs a path"),
    ],
)
async def test_addresses_that_do_not_work(gateway: Gateway, url: str, status: int, text: str) -> None:
    answer = await add(gateway, "bad", url)
    assert answer.status_code == status
    assert text in answer.json()["error"]["message"]
    assert (await gateway.client.get(DATABASES)).json()["items"] == []


async def test_a_name_is_taken_once(gateway: Gateway) -> None:
    url = f"sqlite:///{gateway.tools.database}"
    await add(gateway, "music", url)
    again = await add(gateway, "music", url)
    assert again.status_code == 409
    assert again.json()["error"]["param"] == "name"


async def test_a_statement_that_the_tool_refuses_says_why(gateway: Gateway) -> None:
    await add(gateway, "music", f"sqlite:///{gateway.tools.database}")
    refused = await gateway.client.post(f"{DATABASES}/music/query", json={"sql": "SELECT x FROM Album"})
    assert refused.status_code == 400
    assert "no such column: x" in refused.json()["error"]["message"]


async def test_an_unknown_database_names_those_that_exist(gateway: Gateway) -> None:
    await add(gateway, "music", f"sqlite:///{gateway.tools.database}")
    answer = await gateway.client.get(f"{DATABASES}/nope/schema")
    assert answer.status_code == 404
    assert "Databases: music" in answer.json()["error"]["message"]


async def test_keys_rotate(tmp_path: Path) -> None:
    old, new = "B" * 43 + "=", "C" * 43 + "="
    async with neighbours(tmp_path, clerk) as (model, tools):
        async with running(settings(tmp_path, secret_key=old), model, tools) as gateway:
            await add(gateway, "music", f"sqlite:///{tools.database}")
        async with running(settings(tmp_path, secret_key=f"{new},{old}"), model, tools) as gateway:
            assert (await gateway.client.get(f"{DATABASES}/music/schema")).status_code == 200
        async with running(settings(tmp_path, secret_key=new), model, tools) as gateway:
            lost = await gateway.client.get(f"{DATABASES}/music/schema")
            assert lost.status_code == 500
            assert "GATEWAY_SECRET_KEY" in lost.json()["error"]["message"]
