"""API keys: hashed, scoped, bound, revoked, expired; and the first admin's."""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from gateway.accounts.service import new_key
from tests.gateway.conftest import clerk
from tests.gateway.service import ADMIN_KEY, Gateway, neighbours, running, settings


async def test_me(any_gateway: Gateway) -> None:
    me = (await any_gateway.client.get("/api/v1/me")).json()
    assert (me["name"], me["role"]) == ("admin", "admin")
    assert set(me) == {"id", "name", "role"}


async def test_a_key_is_shown_once_and_kept_as_a_hash(gateway: Gateway) -> None:
    made = (await gateway.client.post("/api/v1/keys", json={"name": "laptop"})).json()
    assert made["key"].startswith(made["prefix"] + "_")
    listed = (await gateway.client.get("/api/v1/keys")).json()["items"]
    assert all("key" not in item for item in listed)
    with sqlite3.connect(gateway.settings.folder / "gateway.db") as file:
        rows = str(file.execute("SELECT * FROM api_keys").fetchall())
    file.close()
    assert made["key"] not in rows
    assert ADMIN_KEY not in rows


@pytest.mark.parametrize(
    ("scopes", "method", "path", "body"),
    [
        (["chat"], "POST", "/api/v1/projects", {"name": "x"}),
        (["chat"], "GET", "/api/v1/keys", None),
        (["chat"], "POST", "/tool_call", {"name": "rag_documents"}),
        (["tools"], "POST", "/api/v1/projects/demo/chat", {"message": "Hi"}),
        (["tools"], "GET", "/v1/models", None),
        (["tools"], "DELETE", "/api/v1/projects/demo", None),
        (["tools"], "POST", "/api/v1/projects/demo/databases", {"name": "x", "url": "sqlite:////x"}),
    ],
)
async def test_scopes_are_asked_for(
    gateway: Gateway, scopes: list[str], method: str, path: str, body: object
) -> None:
    key = await gateway.new_key(scopes=scopes)
    answer = await gateway.client.request(method, path, json=body, headers=gateway.key(key))
    assert answer.status_code == 403
    assert answer.json()["error"]["type"] == "permission_error"


async def test_a_bound_key_sees_its_project_only(gateway: Gateway) -> None:
    await gateway.client.post("/api/v1/projects", json={"name": "other"})
    key = await gateway.new_key(scopes=["chat", "manage"], project="demo")
    headers = gateway.key(key)
    listed = (await gateway.client.get("/api/v1/projects", headers=headers)).json()["items"]
    assert [item["name"] for item in listed] == ["demo"]
    assert (await gateway.client.get("/api/v1/projects/other", headers=headers)).status_code == 403
    made = await gateway.client.post("/api/v1/projects", json={"name": "third"}, headers=headers)
    assert made.status_code == 403


async def test_revoked_and_expired_keys_are_no_keys(gateway: Gateway) -> None:
    past = (datetime.now(UTC) - timedelta(seconds=1)).isoformat()
    expired = await gateway.new_key(expires_at=past)
    assert (await gateway.client.get("/api/v1/me", headers=gateway.key(expired))).status_code == 401
    made = (await gateway.client.post("/api/v1/keys", json={"name": "x"})).json()
    assert (await gateway.client.get("/api/v1/me", headers=gateway.key(made["key"]))).status_code == 200
    assert (await gateway.client.delete(f"/api/v1/keys/{made['id']}")).status_code == 204
    assert (await gateway.client.get("/api/v1/me", headers=gateway.key(made["key"]))).status_code == 401
    assert (await gateway.client.delete("/api/v1/keys/nope")).status_code == 404


async def test_the_last_use_is_written(gateway: Gateway) -> None:
    (item,) = (await gateway.client.get("/api/v1/keys")).json()["items"]
    assert item["last_used_at"] is not None


async def test_a_new_admin_key_replaces_the_old_one(tmp_path: Path) -> None:
    fresh = new_key()
    async with neighbours(tmp_path, clerk) as (model, tools):
        async with running(settings(tmp_path), model, tools) as gateway:
            before = (await gateway.client.get("/api/v1/me")).json()
        async with running(settings(tmp_path, admin_key=fresh), model, tools) as gateway:
            assert (await gateway.client.get("/api/v1/me")).json() == before
            old = await gateway.client.get("/api/v1/me", headers=gateway.key(ADMIN_KEY))
            assert old.status_code == 401


async def test_a_key_in_a_cookie_or_address_is_not_looked_at(gateway: Gateway) -> None:
    answer = await gateway.client.get(
        f"/api/v1/me?api_key={ADMIN_KEY}", headers={"Authorization": "", "Cookie": f"key={ADMIN_KEY}"}
    )
    assert answer.status_code == 401
