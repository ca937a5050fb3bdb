"""Tools over MCP as LangChain tools, and as the model server wants to read them."""

from __future__ import annotations

import warnings
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

import httpx2
from fastmcp import Client
from langchain_core._api import LangChainBetaWarning
from langchain_core.tools import BaseTool
from mcp.shared.exceptions import MCPError

from graphs.database_schema import Schema
from graphs.errors import GraphsError, ToolsRefused, ToolsUnavailable

with warnings.catch_warnings():
    # The namespace warns on import that it is in beta. It is the only adapter that works with fastmcp 4
    # (langchain-mcp-adapters needs mcp < 2), so the news is known; every other warning stays on.
    warnings.simplefilter("ignore", LangChainBetaWarning)
    from langchain.mcp import MCPAdapter

LOST = (ConnectionError, TimeoutError, httpx2.HTTPError, MCPError)
"""What a tools service that went away raises, directly or as the cause of a RuntimeError of the client."""


@asynccontextmanager
async def connected(client: Client[Any]) -> AsyncIterator[dict[str, BaseTool]]:
    """The server's tools by name, over one connection that is held until the block ends.

    Raises ToolsUnavailable or ToolsRefused, for errors inside the block too.
    """
    async with translated(), MCPAdapter(client) as adapter:
        yield {tool.name: tool for tool in await adapter.list_tools()}


@asynccontextmanager
async def translated() -> AsyncIterator[None]:
    """Turns what a lost or refused connection raises into this room's errors."""
    try:
        yield
    except BaseExceptionGroup as group:
        # The client runs its streams in a task group; what it lost comes out wrapped.
        lost, other = group.split(lambda error: isinstance(error, (*LOST, GraphsError)))
        if other is not None or lost is None:
            raise
        raise translate(_leaf(lost)) from group
    except LOST as error:
        raise translate(error) from error
    except RuntimeError as error:
        if not isinstance(error.__cause__, LOST):
            raise
        raise translate(error.__cause__) from error


def _leaf(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def translate(error: BaseException) -> GraphsError:
    """The room's error for a failed connection to the tools service."""
    if isinstance(error, GraphsError):
        return error
    if isinstance(error, httpx2.HTTPStatusError) and error.response.status_code in (401, 403):
        return ToolsRefused("The tools service refused the signed context. Do both have the same key?")
    return ToolsUnavailable(
        f"The tools service is not available ({type(error).__name__}: {error}). Try again."
    )


def declared(tools: Iterable[BaseTool], schema: Schema, extensions: frozenset[str]) -> list[dict[str, Any]]:
    """OpenAI tool definitions, with the extensions that the model server lists and no others."""
    return [
        {
            "type": "function",
            "function": {
                "name": tool.name,
                "description": tool.description,
                "parameters": _parameters(tool, schema, extensions),
            },
        }
        for tool in tools
    ]


def _parameters(tool: BaseTool, schema: Schema, extensions: frozenset[str]) -> dict[str, Any]:
    given = tool.args_schema if isinstance(tool.args_schema, dict) else {}
    properties = {name: _property(value, extensions) for name, value in given.get("properties", {}).items()}
    if "sql" in properties and "x-sql" in extensions and schema.tables:
        properties["sql"]["x-sql"] = schema.x_sql()
    return {"type": "object", "properties": properties, "required": given.get("required", [])}


def _property(value: dict[str, Any], extensions: frozenset[str]) -> dict[str, Any]:
    """One property without titles and defaults; `string or null` is `string`, because a caller that
    has nothing to say leaves an optional argument out."""
    options = [option for option in value.get("anyOf", ()) if option.get("type") != "null"]
    merged = {**value, **options[0]} if len(options) == 1 else dict(value)
    drop = {"title", "default"} | ({"anyOf"} if len(options) == 1 else set())
    unknown = {key for key in merged if key.startswith("x-") and key not in extensions}
    return {key: kept for key, kept in merged.items() if key not in drop | unknown}
