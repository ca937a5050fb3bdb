"""An agent that chooses its tools freely: langchain's `create_agent` with this room's middleware."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, cast

from langchain.agents import create_agent
from langchain.agents.middleware import AgentMiddleware, ModelCallLimitMiddleware
from langchain.agents.middleware.types import AgentState, ModelRequest, ModelResponse
from langchain_core.messages import AIMessage, AnyMessage, ToolMessage
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.graph.state import CompiledStateGraph
from langgraph.prebuilt.tool_node import ToolCallRequest
from langgraph.types import Command

from graphs import llm
from graphs.state import Run
from graphs.steps import extra_body, listing_tokens, refusals, run_tool, system_message, tool_definitions

ANSWER_NODE = "model"


class Thinking(AgentMiddleware[AgentState[Any], None, Any]):
    """Puts the schema into the prompt, tells every step, and ends repairs that lead nowhere."""

    def __init__(self, run: Run) -> None:
        super().__init__()
        self._run = run
        self._definitions = tool_definitions(run, run.spec.tools, run.schema)

    async def awrap_model_call(
        self,
        request: ModelRequest[None],
        handler: Callable[[ModelRequest[None]], Awaitable[ModelResponse[Any]]],
    ) -> ModelResponse[Any]:
        run, system = self._run, system_message(self._run, self._run.schema)
        messages = cast("list[AnyMessage]", [*run.history, *request.messages])
        run.budget.check([system, *messages], listing_tokens(run, self._definitions))
        settings: dict[str, Any] = dict(run.sampling.get("extra", {}))
        if body := extra_body(run, request.messages):
            settings["extra_body"] = body
        with run.meter.model_call():
            async with llm.translated():
                response = await handler(
                    request.override(
                        model=run.chat(stream=True),
                        system_message=system,
                        messages=messages,
                        tools=list(self._definitions),
                        tool_choice=self._choice(request) if self._definitions else None,
                        model_settings=settings,
                    )
                )
        for message in response.result:
            run.meter.count(message)
        return response

    def _choice(self, request: ModelRequest[None]) -> str:
        """`none` makes the model answer with what it has: after the last repair and at the last step."""
        calls = sum(isinstance(message, AIMessage) for message in request.messages)
        limits = self._run.spec.limits
        spent = refusals(request.messages) > limits.repairs or calls + 1 >= limits.steps
        return "none" if spent else "auto"

    async def awrap_tool_call(
        self,
        request: ToolCallRequest,
        handler: Callable[[ToolCallRequest], Awaitable[ToolMessage | Command[Any]]],
    ) -> ToolMessage | Command[Any]:
        async def execute() -> ToolMessage:
            message = await handler(request)
            assert isinstance(message, ToolMessage)  # MCP tools give messages, never commands
            return message

        return await run_tool(self._run, request.tool_call, execute)


def build(run: Run, saver: BaseCheckpointSaver[str] | None) -> CompiledStateGraph[Any, Any, Any, Any]:
    """The graph of one run. Its tools hold the run's own connection, so it is built per run."""
    limit = ModelCallLimitMiddleware[Any, Any](run_limit=run.spec.limits.steps, exit_behavior="error")
    return create_agent(
        run.chat(stream=True),
        [run.tools[name] for name in run.spec.tools if name in run.tools],
        middleware=cast("list[AgentMiddleware[Any, Any, Any]]", [Thinking(run), limit]),
        checkpointer=saver,
        name=run.spec.name,
    )
