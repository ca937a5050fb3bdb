"""/mcp as an MCP client sees it, and /tool_call."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest
from fastmcp import Client
from fastmcp.client.transports import StreamableHttpTransport
from fastmcp.exceptions import ToolError
from mcp.shared.exceptions import MCPError

from tests.gateway.service import ADMIN_KEY, Gateway

MODEL_TOOLS = {"rag_search", "rag_documents", "sql_query", "sql_describe", "sql_values"}


def mcp(gateway: Gateway, key: str = ADMIN_KEY, mode: Any = "auto", **headers: str) -> Client[Any]:
    transport = StreamableHttpTransport(
        f"{gateway.url}/mcp", headers={"Authorization": f"Bearer {key}", **headers}
    )
    return Client(transport, mode=mode)


@pytest.mark.parametrize("mode", ["auto", "legacy", "2026-07-28"])
async def test_both_protocol_eras_list_and_call(full_gateway: Gateway, mode: str) -> None:
    async with mcp(full_gateway, mode=mode) as client:
        tools = {tool.name: tool for tool in await client.list_tools()}
        assert set(tools) >= MODEL_TOOLS
        assert tools["rag_search"].input_schema["properties"]["query"]["x-span"] is True
        found = await client.call_tool("sql_query", {"sql": "SELECT COUNT(*) AS n FROM Album"})
        assert found.content[0].text == "n\n3\n(1 row)"
        assert found.structured_content is not None
        assert found.structured_content["rows"] == [[3]]


async def test_results_are_those_of_the_tools_service(full_gateway: Gateway) -> None:
    async with Client(full_gateway.tools.small.mcp()) as direct, mcp(full_gateway) as client:
        for name, arguments in (("rag_search", {"query": "sick leave"}), ("sql_describe", {})):
            there = await direct.call_tool_mcp(name, arguments)
            here = await client.call_tool_mcp(name, arguments)
            assert here.content == there.content
            assert here.structured_content == there.structured_content
            assert here.is_error == there.is_error


async def test_what_a_tool_refuses_reaches_the_client(full_gateway: Gateway) -> None:
    async with mcp(full_gateway) as client:
        with pytest.raises(ToolError, match="no such column: x"):
            await client.call_tool("sql_query", {"sql": "SELECT x FROM Album"})


async def test_a_key_with_fewer_scopes_sees_and_calls_fewer_tools(full_gateway: Gateway) -> None:
    key = await full_gateway.new_key(scopes=["tools"])
    async with mcp(full_gateway, key) as client:
        assert {tool.name for tool in await client.list_tools()} == MODEL_TOOLS
        with pytest.raises(ToolError):
            await client.call_tool("rag_delete", {"document_id": "x"})
    chat_only = await full_gateway.new_key(scopes=["chat"])
    async with mcp(full_gateway, chat_only) as client:
        assert await client.list_tools() == []


async def test_the_project_comes_from_the_header(full_gateway: Gateway) -> None:
    made = await full_gateway.client.post("/api/v1/projects", json={"name": "other"})
    async with mcp(full_gateway, **{"X-Project": "other"}) as client:
        await client.call_tool("rag_search", {"query": "leave"})
    assert full_gateway.tools.claims[-1]["project"] == made.json()["id"]
    async with mcp(full_gateway, **{"X-Project": "nowhere"}) as client:
        with pytest.raises(MCPError, match="demo"):
            await client.call_tool("rag_search", {"query": "leave"})


async def test_progress_is_relayed(full_gateway: Gateway) -> None:
    seen: list[tuple[float, float | None]] = []

    async def progress(done: float, total: float | None, _: str | None) -> None:
        seen.append((done, total))

    (item,) = (await full_gateway.client.get("/api/v1/projects/demo/documents")).json()["items"]
    path = str(full_gateway.settings.uploads / item["id"])
    arguments = {"document_id": "d", "name": "n.md", "path": path, "media_type": "text/markdown"}
    async with mcp(full_gateway) as client:
        await client.call_tool("rag_ingest", arguments, progress_handler=progress)
    assert seen == [(0, 2), (1, 2)]


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic x"}])
async def test_without_a_key_there_is_no_door(full_gateway: Gateway, headers: dict[str, str]) -> None:
    async with httpx2.AsyncClient(base_url=full_gateway.url, trust_env=False) as stranger:
        for path in ("/mcp", "/tool_call", "/v1/chat/completions", "/api/v1/projects/demo/chat"):
            answer = await stranger.post(path, headers=headers, json={})
            assert answer.status_code == 401, path
            assert answer.headers["www-authenticate"].startswith("Bearer")


async def test_tool_call_over_plain_http(full_gateway: Gateway) -> None:
    body = {"name": "sql_query", "arguments": {"sql": "SELECT 42 AS n"}, "project": "demo"}
    answer = (await full_gateway.client.post("/tool_call", json=body)).json()
    assert (answer["name"], answer["ok"], answer["content"]) == ("sql_query", True, "n\n42\n(1 row)")
    assert answer["structured"]["rows"] == [[42]]
    assert answer["ms"] > 0


@pytest.mark.parametrize(
    ("body", "status", "text"),
    [
        ({"name": "sql_query", "arguments": {"sql": "SELECT x FROM Album"}}, 400, "no such column"),
        ({"name": "nothing"}, 404, "rag_search"),
        ({"name": "rag_search", "arguments": {"query": "x"}, "project": "nowhere"}, 404, "demo"),
        ({"arguments": {}}, 422, "name"),
    ],
)
async def test_tool_calls_that_fail(full_gateway: Gateway, body: Any, status: int, text: str) -> None:
    answer = await full_gateway.client.post("/tool_call", json=body)
    assert answer.status_code == status
    assert text in answer.json()["error"]["message"]


async def test_a_tools_service_that_dies_in_mid_call_is_502_and_the_next_call_works(
    tmp_path: Any,
) -> None:
    from contextlib import AsyncExitStack

    from tests.gateway.conftest import clerk
    from tests.gateway.service import Tools, running, settings
    from tests.graphs.model_server import model_server, serving

    async with AsyncExitStack() as stack:
        model = await stack.enter_async_context(model_server(clerk))
        tools = Tools(tmp_path / "music.db")
        dying = await stack.enter_async_context(AsyncExitStack())
        tools.url = await dying.enter_async_context(serving(tools.app()))
        port = int(tools.url.rsplit(":", 1)[1])
        gateway = await stack.enter_async_context(running(settings(tmp_path), model, tools))
        import asyncio

        call = asyncio.create_task(
            gateway.client.post("/tool_call", json={"name": "slow", "arguments": {"seconds": 30}})
        )
        from tests.gateway.service import until

        async def called() -> bool:
            return any(claim["tool"] == "slow" for claim in tools.claims)

        await until(called)
        await dying.aclose()
        answer = await call
        assert answer.status_code == 502
        assert answer.json()["error"]["code"] == "tools_unavailable"
        await stack.enter_async_context(serving(tools.app(), port=port))
        again = await gateway.client.post("/tool_call", json={"name": "rag_documents"})
        assert again.status_code == 200
