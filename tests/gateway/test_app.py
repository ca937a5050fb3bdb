"""The edge: errors, headers, limits, health, metrics, the console, projects."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.testclient import TestClient

from gateway.settings import Settings
from gateway.static import Console
from tests.gateway.conftest import clerk
from tests.gateway.service import Gateway, neighbours, running, settings


async def test_every_answer_has_its_id_and_its_guards(gateway: Gateway) -> None:
    answer = await gateway.client.get("/health", headers={"X-Request-ID": "mine-1"})
    assert answer.headers["x-request-id"] == "mine-1"
    assert "default-src 'self'" in answer.headers["content-security-policy"]
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["x-frame-options"] == "DENY"
    odd = await gateway.client.get("/health", headers={"X-Request-ID": "a b\tc"})
    assert odd.headers["x-request-id"] != "a b\tc"


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code"),
    [
        ("GET", "/api/v1/nothing", None, 404, "not_found"),
        ("PUT", "/api/v1/me", None, 404, "not_found"),
        ("POST", "/api/v1/projects", {"name": "Not A Name"}, 422, "invalid_request"),
        ("POST", "/api/v1/projects", "{", 422, "invalid_request"),
        ("GET", "/api/v1/projects/nowhere", None, 404, "project_not_found"),
        ("GET", "/v1/models/nobody", None, 404, "agent_not_found"),
    ],
)
async def test_errors_have_one_shape(
    gateway: Gateway, method: str, path: str, body: Any, status: int, code: str
) -> None:
    content = body if isinstance(body, str) else json.dumps(body)
    answer = await gateway.client.request(
        method, path, content=content, headers={"content-type": "application/json"}
    )
    assert answer.status_code == status
    error = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["code"] == code


async def test_a_large_body_is_refused_with_and_without_its_length(gateway: Gateway) -> None:
    large = b"x" * (3 << 20)

    async def pieces() -> Any:
        yield large

    for content in (large, pieces()):
        answer = await gateway.client.post(
            "/api/v1/projects", content=content, headers={"content-type": "application/json"}
        )
        assert answer.status_code == 413


async def test_health_tells_each_dependency(tmp_path: Path) -> None:
    async with neighbours(tmp_path, clerk) as (model, tools):
        async with running(settings(tmp_path), model, tools) as gateway:
            ready = await gateway.client.get("/health/ready")
            assert ready.status_code == 200
            states = ready.json()["dependencies"]
            assert {name: state["status"] for name, state in states.items()} == {
                "database": "ok",
                "llm_server": "ok",
                "tools": "ok",
            }
        model.url = "http://127.0.0.1:9/v1"
        async with running(settings(tmp_path), model, tools) as gateway:
            ready = await gateway.client.get("/health/ready")
            assert ready.status_code == 503
            assert "ConnectError" in ready.json()["dependencies"]["llm_server"]["detail"]
            assert (await gateway.client.get("/health")).json() == {"status": "ok"}
            assert (await gateway.client.get("/health/live")).status_code == 200


async def test_metrics_count_by_route_and_not_by_id(gateway: Gateway) -> None:
    await gateway.client.get("/api/v1/projects/demo/documents/some-id")
    text = (await gateway.client.get("/metrics")).text
    assert 'route="/api/v1/projects/{project}/documents/{document_id}",status="404"' in text
    assert "some-id" not in text
    assert "loopyard_gateway_chats_running 0.0" in text


async def test_a_project_is_made_seen_and_deleted_with_what_it_holds(any_gateway: Gateway) -> None:
    client = any_gateway.client
    made = await client.post("/api/v1/projects", json={"name": "hand-book", "colour": "#112233"})
    assert made.status_code == 201
    assert made.json()["title"] == "Hand book"
    assert (await client.post("/api/v1/projects", json={"name": "hand-book"})).status_code == 409
    file = {"file": ("a.md", b"text")}
    assert (await client.post("/api/v1/projects/hand-book/documents", files=file)).status_code == 202
    await any_gateway.chat("Hello", project="hand-book")
    by_id = (await client.get(f"/api/v1/projects/{made.json()['id']}")).json()
    assert (by_id["name"], by_id["documents"], by_id["databases"]) == ("hand-book", 1, 0)
    assert (await client.delete("/api/v1/projects/hand-book")).status_code == 204
    assert (await client.get("/api/v1/projects/hand-book")).status_code == 404
    assert [p["name"] for p in (await client.get("/api/v1/projects")).json()["items"]] == ["demo"]


async def test_agents_are_listed(gateway: Gateway) -> None:
    items = (await gateway.client.get("/api/v1/agents")).json()["items"]
    assert items[0]["name"] == "general"
    assert set(items[0]) == {"name", "title", "description", "icon", "suggestions", "tools"}


async def test_the_api_describes_itself(gateway: Gateway) -> None:
    paths = (await gateway.client.get("/api/v1/openapi.json")).json()["paths"]
    assert {"/api/v1/projects/{project}/chat", "/v1/chat/completions", "/tool_call"} <= set(paths)


def console(folder: Path) -> TestClient:
    return TestClient(Starlette(routes=[Mount("/", Console(folder))]))


def test_the_console_and_its_pages(tmp_path: Path) -> None:
    (tmp_path / "assets").mkdir()
    (tmp_path / "index.html").write_text("<title>Loopyard</title>")
    (tmp_path / "assets" / "app-1a2b.js").write_text("1")
    (tmp_path / "assets" / "font.woff2").write_text("1")
    with console(tmp_path) as client:
        for page in ("/", "/p/demo/chat", "/p/demo/chat/01a1"):
            answer = client.get(page)
            assert "<title>Loopyard" in answer.text
            assert answer.headers["cache-control"] == "no-cache"
        script = client.get("/assets/app-1a2b.js")
        assert "immutable" in script.headers["cache-control"]
        assert client.get("/assets/font.woff2").headers["content-type"] == "font/woff2"
        assert client.get("/assets/gone.js").status_code == 404
        assert client.get("/api/v1/nothing").status_code == 404
        assert client.get("/../settings.py").status_code in (200, 404)
        assert "UNSAFE" not in client.get("/%2e%2e/settings.py").text


def test_without_a_build_the_page_says_how_to_make_one(tmp_path: Path) -> None:
    with console(tmp_path / "missing") as client:
        answer = client.get("/")
        assert answer.status_code == 200
        assert "make console" in answer.text


def test_default_secrets_stay_at_home() -> None:
    assert Settings().host == "127.0.0.1"
    with pytest.raises(ValueError, match=r"GATEWAY_CONTEXT_KEY, GATEWAY_SECRET_KEY, GATEWAY_ADMIN_KEY"):
        Settings(host="0.0.0.0")


@pytest.mark.parametrize(
    "broken", [{"context_key": "abc"}, {"admin_key": "short"}, {"secret_key": "x"}, {"colour": "red"}]
)
def test_settings_that_cannot_work_stop_the_start(broken: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        Settings(**broken)


def test_an_unknown_variable_is_a_typing_slip(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWAY_PROT", "8080")
    with pytest.raises(ValueError, match=r"GATEWAY_PROT.*GATEWAY_PORT"):
        Settings.from_environment()


async def test_many_writers_at_once_do_not_lock_each_other_out(gateway: Gateway) -> None:
    chats = [gateway.chat(f"Hello {n}") for n in range(12)]
    files = [
        gateway.client.post(
            "/api/v1/projects/demo/documents", files={"file": (f"{n}.md", f"text {n}".encode())}
        )
        for n in range(12)
    ]
    told, sent = await asyncio.gather(asyncio.gather(*chats), asyncio.gather(*files))
    assert {events[-1][0] for events in told} == {"done"}
    assert {answer.status_code for answer in sent} == {202}
