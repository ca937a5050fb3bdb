"""Datasets and jobs over MCP: the tools service acts through the gateway, with what its caller may."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from cryptography.fernet import Fernet, MultiFernet
from fastmcp import Client
from fastmcp.client.transports import StdioTransport, StreamableHttpTransport
from fastmcp.exceptions import ToolError
from pydantic import SecretStr

from gateway import callback
from gateway.callback import PREFIX, Callbacks
from gateway.errors import Unauthenticated
from gateway.policy import MANAGER_TOOLS, Caller, Scope
from tests.gateway.service import ADMIN_KEY, Gateway, until
from tests.gateway.worker import preferences
from tests.tools.serving import free_port
from tools.context import LocalCaller
from tools.data.server import create_server
from tools.settings import Settings

ANN = Caller("ann", "acme", "Ann", "admin", "k1", frozenset({Scope.ADMIN}))


def client(gateway: Gateway, key: str, project: str = "demo") -> Client[Any]:
    headers = {"Authorization": f"Bearer {key}", "X-Project": project}
    return Client(StreamableHttpTransport(f"{gateway.url}/mcp", headers=headers))


async def test_a_key_that_manages_lists_and_uses_what_agents_and_others_do_not_see(working: Gateway) -> None:
    managing = await working.new_key(scopes=["tools", "manage"])
    calling = await working.new_key(scopes=["tools", "chat"])
    async with client(working, managing) as mcp:
        listed = {tool.name: tool for tool in await mcp.list_tools()}
        assert set(listed) >= MANAGER_TOOLS
        for name in MANAGER_TOOLS:
            tool = listed[name]
            assert "project" not in tool.input_schema.get("properties", {})
            assert tool.output_schema
            assert tool.annotations is not None
        assert listed["data_delete"].annotations.destructive_hint
        assert listed["data_list"].annotations.read_only_hint
    async with client(working, calling) as mcp:
        assert not MANAGER_TOOLS & {tool.name for tool in await mcp.list_tools()}
        for name in ("data_list", "jobs_list", "training_methods"):
            with pytest.raises(ToolError, match=r"Unknown tool|no scope"):
                await mcp.call_tool(name, {})


async def test_a_dataset_is_added_checked_built_and_deleted_by_tools(working: Gateway) -> None:
    key = await working.new_key(scopes=["tools", "manage"])
    async with client(working, key) as mcp:
        added = await mcp.call_tool("data_add", {"name": "said", "content": preferences(20).decode()})
        assert added.structured_content is not None
        assert (added.structured_content["name"], added.structured_content["rows"]) == ("said", 20)
        listed = await mcp.call_tool("data_list", {})
        assert "said (preference, 20 rows, ready)" in listed.content[0].text
        seen = await mcp.call_tool("data_describe", {"dataset": "said"})
        assert "- prompt: list, 0 missing" in seen.content[0].text
        checked = await mcp.call_tool("data_validate", {"dataset": "said"})
        assert checked.structured_content is not None
        assert (checked.structured_content["rows"], checked.structured_content["errors"]) == (20, 0)
        built = await mcp.call_tool("data_build", {"name": "split", "sources": ["said"]})
        assert built.structured_content is not None
        job = built.structured_content["job_id"]

        async def done() -> bool:
            status = await mcp.call_tool("jobs_status", {"job": job})
            assert status.structured_content is not None
            assert status.structured_content["state"] in ("queued", "running", "done"), status
            return bool(status.structured_content["state"] == "done")

        await until(done, 100)
        log = await mcp.call_tool("jobs_log", {"job": job})
        assert "16 rows to train on, 4 held out" in log.content[0].text
        assert job in (await mcp.call_tool("jobs_list", {})).content[0].text
        await mcp.call_tool("data_delete", {"dataset": "split"})
        assert "split" not in (await mcp.call_tool("data_list", {})).content[0].text


async def test_what_is_refused_says_what_to_do(working: Gateway) -> None:
    key = await working.new_key(scopes=["tools", "manage"])
    async with client(working, key) as mcp:
        with pytest.raises(ToolError, match=r"No dataset 'nowhere' in this project\. Datasets: "):
            await mcp.call_tool("data_validate", {"dataset": "nowhere"})
        with pytest.raises(ToolError, match="No dataset"):
            await mcp.call_tool("training_start", {"dataset": "nowhere", "method": "dpo"})
        with pytest.raises(ToolError, match="method"):
            await mcp.call_tool("training_start", {"dataset": "said", "method": "magic"})
        await mcp.call_tool("data_add", {"name": "judged", "content": preferences(2).decode()})
        known = {"dataset": "judged", "method": "dpo"}
        for more, said in (
            ({"parent": "nobody@live"}, "`live` is no version of the adapter `nobody`"),
            ({"base": "/etc"}, "another one is for admins only"),
            ({"name": "a b"}, "name"),
            ({"resource": "tpu"}, "resource"),
        ):
            with pytest.raises(ToolError, match=said):
                await mcp.call_tool("training_start", {**known, **more})
        with pytest.raises(ToolError, match="there is no job"):
            await mcp.call_tool("jobs_cancel", {"job": "none"})
        for name in ("..", "../projects", "../../v1/models"):
            with pytest.raises(ToolError, match="is no name"):
                await mcp.call_tool("data_describe", {"dataset": name})


async def test_tools_of_one_project_reach_no_other(working: Gateway) -> None:
    await working.client.post("/api/v1/projects", json={"name": "vault"})
    files = {"file": ("secret.jsonl", preferences(3))}
    await working.client.post("/api/v1/datasets", files=files, headers={"X-Project": "vault"})
    bound = await working.new_key(scopes=["tools", "manage"], project="demo")
    async with client(working, bound) as mcp:
        assert "secret" not in (await mcp.call_tool("data_list", {})).content[0].text
        with pytest.raises(ToolError, match="No dataset 'secret'"):
            await mcp.call_tool("data_describe", {"dataset": "secret"})
        with pytest.raises(ToolError, match="project"):
            await mcp.call_tool("data_list", {"project": "vault"})
    everywhere = await working.new_key(scopes=["tools", "manage"])
    async with client(working, everywhere, "vault") as mcp:
        assert "secret" in (await mcp.call_tool("data_list", {})).content[0].text


async def test_what_a_tool_is_lent_is_small_and_bound(working: Gateway) -> None:
    lent = Callbacks(working.settings.cipher())
    services = working.app.state.services
    me = await services.accounts.authenticate(ADMIN_KEY)
    project = (await working.client.get("/api/v1/projects/demo")).json()["id"]
    headers = working.key(lent.mint(me, project))
    assert (await working.client.get("/api/v1/datasets", headers=headers)).status_code == 200
    # Whose key is an admin's lends no more than the right to manage, and that in one project.
    for path in ("/api/v1/models-registry", "/api/v1/audit"):
        assert (await working.client.get(path, headers=headers)).status_code == 403
    await working.client.post("/api/v1/projects", json={"name": "vault"})
    other = {**headers, "X-Project": "vault"}
    assert (await working.client.get("/api/v1/datasets", headers=other)).status_code == 403
    key = {"name": "k", "scopes": ["admin"]}
    assert (await working.client.post("/api/v1/keys", json=key, headers=headers)).status_code == 403
    for forged in (PREFIX, PREFIX + "x" * 60, headers["Authorization"].removeprefix("Bearer ")[:-4] + "AAAA"):
        answer = await working.client.get("/api/v1/datasets", headers=working.key(forged))
        assert answer.status_code == 401


def test_a_callback_is_short_lived_and_ours() -> None:
    ours, theirs = (Callbacks(MultiFernet([Fernet(Fernet.generate_key())])) for _ in range(2))
    token = ours.mint(ANN, "p1")
    opened = ours.open(token)
    assert (opened.user_id, opened.project_id, set(opened.scopes)) == ("ann", "p1", {Scope.MANAGE})
    with pytest.raises(Unauthenticated):
        theirs.open(token)
    fernet = Fernet(Fernet.generate_key())
    late = PREFIX + fernet.encrypt_at_time(b"{}", int(time.time()) - callback.SECONDS - 5).decode()
    with pytest.raises(Unauthenticated, match="is over"):
        Callbacks(MultiFernet([fernet])).open(late)
    # Something else that was encrypted with the same key, such as a database's address, opens nothing.
    with pytest.raises(Unauthenticated, match="no callback"):
        Callbacks(MultiFernet([fernet])).open(PREFIX + fernet.encrypt(b"{}").decode())


async def test_the_servers_run_alone_over_stdio(working: Gateway, tmp_path: Path) -> None:
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(Path(__file__).parents[2])}
    env |= {"TOOLS_GATEWAY_URL": working.url, "TOOLS_GATEWAY_KEY": await working.new_key(scopes=["manage"])}
    expected = {"data": {n.removeprefix("data_") for n in MANAGER_TOOLS if n.startswith("data_")}}
    expected |= {"training": {n for n in MANAGER_TOOLS if not n.startswith("data_")}}
    for verb, names in expected.items():
        arguments = ["-m", "tools", verb, "--project", "demo"]
        transport = StdioTransport(sys.executable, arguments, env=env, cwd=str(tmp_path))
        async with Client(transport, init_timeout=60) as mcp:
            assert {tool.name for tool in await mcp.list_tools()} == names
            first = "list" if verb == "data" else "jobs_list"
            assert (await mcp.call_tool(first, {})).structured_content is not None


async def test_without_a_key_a_server_alone_says_what_is_missing(tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        *[sys.executable, "-m", "tools", "data", "--project", "demo"],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(Path(__file__).parents[2])},
        cwd=tmp_path,
        stderr=asyncio.subprocess.PIPE,
    )
    _, said = await process.communicate()
    assert process.returncode == 2
    assert b"TOOLS_GATEWAY_KEY is not set" in said


async def test_a_gateway_that_is_away_is_told(tmp_path: Path) -> None:
    key = SecretStr("ly_x")
    away = Settings(gateway_url=f"http://127.0.0.1:{free_port()}", gateway_key=key, data=tmp_path)
    async with Client(create_server(away, LocalCaller(callback="ly_x"))) as mcp:
        with pytest.raises(ToolError, match=r"does not answer\. Try again"):
            await mcp.call_tool("list", {})
    async with Client(create_server(away, LocalCaller())) as mcp:
        with pytest.raises(ToolError, match="may not act through the gateway"):
            await mcp.call_tool("list", {})
