"""The two things that every graph does, one model call and one tool call, each told as events."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, SystemMessage, ToolCall, ToolMessage
from langgraph.config import get_stream_writer

from graphs import llm
from graphs.citations import Passage, passages
from graphs.database_schema import Schema
from graphs.events import Notice, ToolAnswered, ToolCalled, pack
from graphs.limits import TOOL_TOKENS
from graphs.mcp_tools import declared
from graphs.state import Run

SEARCH = "rag_search"
QUERY = "sql_query"

_log = logging.getLogger(__name__)


def system_message(run: Run, schema: Schema) -> SystemMessage:
    """Persona, then what the caller adds, then the databases."""
    parts = (run.spec.persona.strip(), run.system.strip(), schema.text)
    return SystemMessage("\n\n".join(part for part in parts if part))


def tool_definitions(run: Run, names: Sequence[str], schema: Schema) -> list[dict[str, Any]]:
    tools = [run.tools[name] for name in names if name in run.tools]
    return declared(tools, schema, run.card.extensions)


def listing_tokens(run: Run, tools: Sequence[dict[str, Any]]) -> int:
    """What the tools take in the prompt: a line each with our template, their JSON with others'."""
    if "x-span" in run.card.extensions:
        return len(tools) * TOOL_TOKENS
    return run.budget.tokens(json.dumps(tools)) if tools else 0


def extra_body(run: Run, messages: Sequence[BaseMessage]) -> dict[str, Any]:
    """`grounding` only where the server knows it and a passage or a result is there to quote from."""
    if "grounding" in run.card.extensions and any(found_passages(messages)):
        return {"grounding": "quotes"}
    results = [message for message in messages if isinstance(message, ToolMessage)]
    figures = results and results[-1].name == QUERY and results[-1].status != "error"
    return {"grounding": "cells"} if figures and "grounding-cells" in run.card.extensions else {}


async def ask(
    run: Run,
    messages: Sequence[BaseMessage],
    tools: list[dict[str, Any]],
    choice: str,
    *,
    stream: bool = False,
    response_format: dict[str, Any] | None = None,
) -> AIMessage:
    """One model call. `choice` is `none`, `auto` or the name of the tool that must be called.

    Raises PromptTooLong, ModelUnavailable, ModelRefused.
    """
    run.budget.check(messages, listing_tokens(run, tools))
    bound: dict[str, Any] = dict(run.sampling.get("extra", {}))
    if tools:
        bound |= {"tools": tools, "tool_choice": _choice(choice)}
    if response_format:
        bound["response_format"] = response_format
    if body := extra_body(run, messages):
        bound["extra_body"] = body
    limit = None if choice == "none" else run.spec.limits.tool_call_tokens
    with run.meter.model_call():
        async with llm.translated():
            reply = await run.chat(stream=stream, max_tokens=limit).ainvoke(list(messages), **bound)
    run.meter.count(reply)
    return reply


def _choice(choice: str) -> str | dict[str, Any]:
    if choice in ("none", "auto", "required"):
        return choice
    return {"type": "function", "function": {"name": choice}}


async def run_tool(run: Run, call: ToolCall, execute: Callable[[], Awaitable[ToolMessage]]) -> ToolMessage:
    """One tool call: announced, run, told, and cut to what the model's context holds."""
    write = get_stream_writer()
    call_id = str(call["id"])
    write(pack(ToolCalled(id=call_id, tool=call["name"], arguments=call["args"])))
    started = time.monotonic()
    message = await execute()
    ms = round((time.monotonic() - started) * 1000, 1)
    run.meter.tools_ms += ms
    ok, text, structured = message.status != "error", message.text, _structured(message)
    write(pack(ToolAnswered(id=call_id, tool=call["name"], ok=ok, text=text, structured=structured, ms=ms)))
    _log.debug("tool answered", extra={"tool": call["name"], "ok": ok, "ms": ms})
    fitted = run.budget.passages(text) if call["name"] == SEARCH else run.budget.result(text)
    if fitted != text:
        message_text = (
            f"The result of {call['name']} was shortened for the model; the whole of it is shown here."
        )
        write(pack(Notice(code="result_cut", message=message_text)))
    return ToolMessage(
        fitted, tool_call_id=call_id, name=call["name"], status=message.status, artifact=message.artifact
    )


def _structured(message: ToolMessage) -> dict[str, Any] | None:
    artifact = message.artifact or {}
    structured = artifact.get("structured_content")
    return structured if isinstance(structured, dict) else None


def found_passages(messages: Sequence[BaseMessage]) -> list[Passage]:
    """The passages of every search of the run, the latest last."""
    searches = [m for m in messages if isinstance(m, ToolMessage) and m.name == SEARCH]
    return [passage for message in searches for passage in passages(_structured(message))]


def refusals(messages: Sequence[BaseMessage]) -> int:
    """Tool calls that came back as errors."""
    return sum(isinstance(message, ToolMessage) and message.status == "error" for message in messages)
