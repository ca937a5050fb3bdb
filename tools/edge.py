"""The edge of every MCP server here: what is wrong with a call is said so that a model can put it right."""

import functools
import logging
from collections.abc import Awaitable, Callable, Iterable
from typing import Annotated, Any, ParamSpec, TypeVar

import mcp_types as mcp
from fastmcp import FastMCP
from fastmcp.exceptions import NotFoundError, ToolError, ValidationError
from fastmcp.server.middleware import CallNext, Middleware, MiddlewareContext
from fastmcp.tools import ToolResult
from fastmcp.utilities.authorization import AuthCheck
from mcp_types import ToolAnnotations
from pydantic import BaseModel, BeforeValidator
from pydantic import ValidationError as PydanticValidationError

from tools.errors import ToolsError

P = ParamSpec("P")
R = TypeVar("R")

READ_ONLY = ToolAnnotations(
    read_only_hint=True, destructive_hint=False, idempotent_hint=True, open_world_hint=False
)
WRITES = READ_ONLY.model_copy(update={"read_only_hint": False})
DESTROYS = WRITES.model_copy(update={"destructive_hint": True})


def _none_to_empty(value: object) -> object:
    return "" if value is None else value


Text = Annotated[str, BeforeValidator(_none_to_empty)]
"""A string that may be left out: its schema is a plain string, which small models and grammars can read;
null is taken for "left out" too."""


def speaking(function: Callable[P, Awaitable[R]]) -> Callable[P, Awaitable[R]]:
    """The function as a tool: an error of this room becomes a `ToolError` with the same text."""

    @functools.wraps(function)
    async def tool(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return await function(*args, **kwargs)
        except ToolsError as error:
            raise ToolError(str(error), log_level=logging.INFO) from error

    return tool


def add_tool(
    server: FastMCP,
    function: Callable[..., Awaitable[ToolResult]],
    *,
    auth: AuthCheck,
    annotations: ToolAnnotations,
    output: type[BaseModel],
) -> None:
    """Serve a function: name and text from itself, arguments from its types, results as `output`."""
    server.tool(
        speaking(function),
        annotations=annotations,
        output_schema=output.model_json_schema(mode="serialization"),
        auth=auth,
    )


class Edge(Middleware):
    """Turns argument errors into one readable line, and hides the insides of what nobody expected."""

    async def on_call_tool(
        self,
        context: MiddlewareContext[mcp.CallToolRequestParams],
        call_next: CallNext[mcp.CallToolRequestParams, ToolResult],
    ) -> ToolResult:
        """Run the tool; raises only `ToolError`s with a text for the caller."""
        try:
            return await call_next(context)
        except (ValidationError, PydanticValidationError) as error:
            raise ToolError(f"These arguments do not fit: {_readable(error)}") from error
        except NotFoundError as error:
            raise ToolError(
                f"There is no tool {context.message.name} for this caller. List the tools and choose one."
            ) from error


def _readable(error: Exception) -> str:
    cause = error if isinstance(error, PydanticValidationError) else error.__cause__
    if not isinstance(cause, PydanticValidationError):
        return str(error).splitlines()[0]
    return "; ".join(_problems(cause.errors(include_url=False, include_context=True)))


def _problems(errors: Iterable[Any]) -> Iterable[str]:
    for error in errors:
        place = ".".join(str(part) for part in error["loc"]) or "arguments"
        yield f"{place}: {error['msg'][0].lower()}{error['msg'][1:]}"
