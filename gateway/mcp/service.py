"""Tools that a caller names itself: over MCP and over plain HTTP, through one decision."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import mcp_types

from gateway.callback import Callbacks
from gateway.context import ADMIN, CALL, MANAGE, CallIdentity
from gateway.databases.service import Databases
from gateway.errors import Forbidden, NotFound
from gateway.hop import Hop, Progress
from gateway.ids import new_id
from gateway.policy import MANAGER_TOOLS, Caller, ProjectFacts, Scope, decide
from gateway.projects.store import Project

LISTING_SECONDS = 5.0


class ToolCalls:
    def __init__(self, hop: Hop, databases: Databases, callbacks: Callbacks) -> None:
        self._hop = hop
        self._databases = databases
        self._callbacks = callbacks
        self._listed: dict[tuple[str, ...], tuple[float, list[mcp_types.Tool]]] = {}

    async def permitted(self, caller: Caller, project: Project, request_id: str) -> list[mcp_types.Tool]:
        """The tools that `call` would run for this caller. Raises ToolsUnavailable."""
        facts = ProjectFacts(project.id, project.account_id)
        if not any(decide(caller, name, facts) for name in ("rag_search", "")):
            return []
        tools = await self._tools(self._identity(caller, project, request_id, []))
        return [tool for tool in tools if decide(caller, tool.name, facts)]

    async def _tools(self, identity: CallIdentity) -> list[mcp_types.Tool]:
        """What the service lists for these scopes. Kept for a moment: one call over MCP asks three times."""
        scopes, now = tuple(identity.scopes), time.monotonic()
        if scopes not in self._listed or now - self._listed[scopes][0] > LISTING_SECONDS:
            self._listed[scopes] = (now, await self._hop.tools(identity))
        return self._listed[scopes][1]

    async def call(
        self,
        caller: Caller,
        project: Project,
        name: str,
        arguments: dict[str, Any],
        request_id: str,
        progress: Progress | None = None,
    ) -> mcp_types.CallToolResult:
        """The result as the tool gave it.

        Raises Forbidden, NotFound for a name that the caller cannot list, ToolsUnavailable.
        """
        facts = ProjectFacts(project.id, project.account_id)
        if not (decision := decide(caller, name, facts, arguments)):
            raise Forbidden(decision.reason)
        known = [tool.name for tool in await self.permitted(caller, project, request_id)]
        if name not in known:
            raise NotFound(f"No tool {name!r}. Tools: {', '.join(known)}.", code="tool_not_found")
        addresses = [(link.name, link.url) for link in await self._databases.addresses(project.id)]
        identity = self._identity(caller, project, request_id, addresses)
        if name in MANAGER_TOOLS:
            identity = replace(identity, callback=self._callbacks.mint(caller, project.id))
        return await self._hop.call(identity, name, arguments, progress)

    def _identity(
        self, caller: Caller, project: Project, request_id: str, databases: list[tuple[str, str]]
    ) -> CallIdentity:
        given = {CALL: True, MANAGE: caller.has(Scope.MANAGE), ADMIN: caller.has(Scope.ADMIN)}
        scopes = tuple(scope for scope, has in given.items() if has)
        return CallIdentity(caller.user_id, project.id, request_id, new_id(), scopes, databases)
