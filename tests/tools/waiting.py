"""Waiting for something to become true, in a test."""

import asyncio
from collections.abc import Callable

from fastmcp.client.client import CallToolResult
from mcp_types import TextContent


async def until(condition: Callable[[], bool]) -> None:
    """Wait for a condition; the test's own timeout is the limit."""
    while not condition():  # noqa: ASYNC110 - other threads and processes make it true
        await asyncio.sleep(0.005)


def text_of(result: CallToolResult) -> str:
    """The text of a tool's result."""
    content = result.content[0]
    assert isinstance(content, TextContent)
    return content.text
