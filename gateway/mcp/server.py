"""/mcp: the tools of the tools service for any MCP client, both protocol eras, behind the caller's key."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import mcp_types
from fastmcp import FastMCP
from fastmcp.exceptions import ToolError
from fastmcp.server.auth import AccessToken, TokenVerifier
from fastmcp.server.dependencies import get_access_token, get_context, get_http_headers
from fastmcp.server.providers import Provider
from fastmcp.tools import Tool, ToolResult
from fastmcp.utilities.components import FastMCPComponent
from fastmcp.utilities.versions import VersionSpec
from mcp.shared.exceptions import MCPError
from pydantic import PrivateAttr
from starlette.applications import Starlette

from gateway.errors import GatewayError, Unauthenticated
from gateway.ids import new_id
from gateway.policy import Caller
from gateway.projects.store import Project
from gateway.wiring import Services
from graphs.errors import GraphsError

Find = Callable[[], Services]


class KeyVerifier(TokenVerifier):
    """The gateway's API keys as bearer tokens."""

    def __init__(self, services: Find) -> None:
        super().__init__()
        self._services = services

    async def verify_token(self, token: str) -> AccessToken | None:
        try:
            caller = await self._services().accounts.authenticate(token)
        except Unauthenticated:
            return None
        scopes = sorted(scope.value for scope in caller.scopes)
        return AccessToken(token=token, client_id=caller.key_id, scopes=scopes, claims={"caller": caller})


class HopTool(Tool):
    """A tool of the tools service. Schemas and results pass through untouched."""

    _services: Find = PrivateAttr()

    @classmethod
    def of(cls, tool: mcp_types.Tool, services: Find) -> HopTool:
        made = cls(
            name=tool.name,
            title=tool.title,
            description=tool.description,
            parameters=tool.input_schema,
            output_schema=tool.output_schema,
            annotations=tool.annotations,
            icons=tool.icons,
            meta=tool.meta,
        )
        made._services = services
        return made

    async def run(self, arguments: dict[str, Any], context: Any = None) -> ToolResult:
        services, told = self._services(), get_context()
        try:
            caller, project = await _who(services)
            result = await services.tools.call(
                caller, project, self.name, arguments, new_id(), told.report_progress
            )
        except (GatewayError, GraphsError) as error:
            raise ToolError(str(error)) from error
        return ToolResult(
            content=result.content,
            structured_content=result.structured_content,
            meta=result.meta,
            is_error=result.is_error,
        )


class HopProvider(Provider):
    """Asked on every request: what is listed depends on who asks."""

    def __init__(self, services: Find) -> None:
        super().__init__()
        self._services = services

    async def _list_tools(self) -> Sequence[Tool]:
        services = self._services()
        try:
            caller, project = await _who(services)
            tools = await services.tools.permitted(caller, project, new_id())
        except (GatewayError, GraphsError) as error:
            raise MCPError(code=mcp_types.INVALID_REQUEST, message=str(error)) from error
        return [HopTool.of(tool, self._services) for tool in tools]

    async def get_tasks(self) -> Sequence[FastMCPComponent]:
        """None: asked at the start, before there is a caller to list for."""
        return []

    async def _get_tool(self, name: str, version: VersionSpec | None = None) -> Tool | None:
        return next((tool for tool in await self._list_tools() if tool.name == name), None)


async def _who(services: Services) -> tuple[Caller, Project]:
    """Caller and project of the request that is being answered."""
    token = get_access_token()
    caller = token.claims.get("caller") if token else None
    if not isinstance(caller, Caller):
        raise Unauthenticated("Send an API key as `Authorization: Bearer ly_...`.")
    wanted = get_http_headers(include_all=True).get("x-project")
    reference = wanted or caller.project_id or services.settings.default_project
    return caller, await services.projects.get(caller, reference)


def mcp_app(services: Find) -> Starlette:
    """The ASGI application of /mcp. Its lifespan must be entered by the application around it."""
    server: FastMCP[Any] = FastMCP("loopyard", auth=KeyVerifier(services), providers=[HopProvider(services)])
    # A listing that fails must say so: an empty one looks like a key without rights.
    server.provider_error_strategy = "raise"
    return server.http_app(path="/mcp", stateless_http=True, host_origin_protection=False)
