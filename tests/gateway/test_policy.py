"""What a caller can list is what it can call: on the decision itself and on the surfaces."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest
from fastmcp import Client
from fastmcp.client.transports import StreamableHttpTransport
from fastmcp.exceptions import ToolError
from hypothesis import given
from hypothesis import strategies as st

from gateway.policy import MODEL_TOOLS, Caller, ProjectFacts, Scope, decide, may_enter
from tests.gateway.service import Gateway

OPERATOR_TOOLS = ("rag_ingest", "rag_delete", "rag_page", "rag_chunks", "sql_test")
TOOLS = st.sampled_from([*sorted(MODEL_TOOLS), *OPERATOR_TOOLS, "never_heard_of"])
SCOPES = st.frozensets(st.sampled_from(list(Scope)))
IDS = st.sampled_from(["a", "b"])
CALLERS = st.builds(
    Caller,
    user_id=st.just("u"),
    account_id=IDS,
    name=st.just("n"),
    role=st.sampled_from(["admin", "member"]),
    key_id=st.just("k"),
    scopes=SCOPES,
    project_id=st.none() | IDS,
)
PROJECTS = st.builds(ProjectFacts, id=IDS, account_id=IDS)
ARGUMENTS = st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=3)


@given(CALLERS, TOOLS, PROJECTS, ARGUMENTS, st.sampled_from([Scope.TOOLS, Scope.CHAT]))
def test_listing_and_calling_agree(
    caller: Caller, tool: str, project: ProjectFacts, arguments: dict[str, Any], through: Scope
) -> None:
    listed = decide(caller, tool, project, None, through=through)
    called = decide(caller, tool, project, arguments, through=through)
    assert bool(listed) == bool(called)
    assert bool(called) or called.reason


@given(CALLERS, TOOLS, PROJECTS)
def test_nobody_reaches_another_account_or_project(caller: Caller, tool: str, project: ProjectFacts) -> None:
    if caller.account_id != project.account_id or caller.project_id not in (None, project.id):
        assert not may_enter(caller, project)
        assert not decide(caller, tool, project)


@given(CALLERS, TOOLS, PROJECTS)
def test_operator_tools_are_for_admins_who_name_them(
    caller: Caller, tool: str, project: ProjectFacts
) -> None:
    if tool not in MODEL_TOOLS:
        assert not decide(caller, tool, project, through=Scope.CHAT)
        assert not decide(caller, tool, project) or Scope.ADMIN in caller.scopes


@pytest.mark.parametrize("scopes", [["chat"], ["tools"], ["manage"], ["chat", "tools"], ["admin"]])
@pytest.mark.parametrize("bound", [None, "demo"])
@pytest.mark.parametrize("project", ["demo", "other"])
async def test_every_surface_agrees(
    gateway: Gateway, scopes: list[str], bound: str | None, project: str
) -> None:
    await gateway.client.post("/api/v1/projects", json={"name": "other"})
    link = {"name": "music", "url": f"sqlite:///{gateway.tools.database}"}
    await gateway.client.post("/api/v1/projects/demo/databases", json=link)
    key = await gateway.new_key(scopes=scopes, project=bound)
    headers = {"Authorization": f"Bearer {key}", "X-Project": project}
    transport = StreamableHttpTransport(f"{gateway.url}/mcp", headers=headers)
    arguments: dict[str, dict[str, Any]] = {
        "rag_documents": {},
        "sql_describe": {},
        "slow": {"seconds": 0},
    }
    async with httpx2.AsyncClient(base_url=gateway.url, headers=headers, trust_env=False) as http:
        listed = await _listed(transport)
        for tool, given_arguments in arguments.items():
            body = {"name": tool, "arguments": given_arguments, "project": project}
            answer = await http.post("/tool_call", json=body)
            assert answer.status_code in (200, 403, 404)
            assert (tool in listed) == (answer.status_code == 200), tool
            assert (tool in listed) == await _called(transport, tool, given_arguments), tool
        chat = await http.post("/v1/chat/completions", json=_hello(f"general@{project}"))
        may_chat = bool({"chat", "admin"} & set(scopes)) and bound in (None, project)
        assert (chat.status_code == 200) == may_chat


def _hello(model: str) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": "Hello"}]}


async def _listed(transport: StreamableHttpTransport) -> set[str]:
    try:
        async with Client(transport) as client:
            return {tool.name for tool in await client.list_tools()}
    except Exception:  # a project that may not be entered lists nothing: it is refused
        return set()


async def _called(transport: StreamableHttpTransport, tool: str, arguments: dict[str, Any]) -> bool:
    from mcp.shared.exceptions import MCPError

    async with Client(transport) as client:
        try:
            await client.call_tool(tool, arguments)
        except (ToolError, MCPError):
            return False
        return True
