"""An agent that first chooses where the answer is, then looks there, then answers.

    route -> neither ----------------------------> answer
          '> documents, database, both -> call -> tools -> answer
                                           ^        |
                                           '-repair-' (a refused SELECT, at most twice)

Small models choose one of four words far more reliably than they decide whether to call a tool, and a forced
call cannot be forgotten.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, get_args

from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolCall, ToolMessage
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.config import get_stream_writer
from langgraph.graph import END, START, StateGraph
from langgraph.graph.state import CompiledStateGraph
from uuid_utils import uuid7

from graphs.database_schema import Schema, words
from graphs.events import Route, RouteChosen, pack
from graphs.state import RouterState, Run
from graphs.steps import QUERY, SEARCH, ask, run_tool, system_message, tool_definitions

ANSWER_NODE = "answer"
FORCED: dict[Route, tuple[str, ...]] = {
    "documents": (SEARCH,),
    "database": (QUERY,),
    "both": (SEARCH, QUERY),
    "neither": (),
}
TITLES, TABLES = 20, 40
"""How many names the route prompt holds."""
PROMPT = Path(__file__).parent.parent / "prompts" / "route.md"


class Router:
    """The nodes of one run."""

    def __init__(self, run: Run) -> None:
        self._run = run

    async def route(self, state: RouterState) -> dict[str, Any]:
        options = self._options()
        route = options[0] if len(options) == 1 else await self._choose(state, options)
        get_stream_writer()(pack(RouteChosen(route=route)))
        return {"route": route, "refused": 0}

    def _options(self) -> list[Route]:
        """The routes that this project can answer by; `neither` always."""
        has = {SEARCH: bool(self._run.documents), QUERY: bool(self._run.schema.databases)}
        usable = {name for name, there in has.items() if there and name in self._run.tools}
        return [route for route in reversed(get_args(Route)) if set(FORCED[route]) <= usable]

    async def _choose(self, state: RouterState, options: list[Route]) -> Route:
        prompt = (
            PROMPT.read_text(encoding="utf-8")
            .strip()
            .format(
                documents=_names(self._run.documents, TITLES, _question(state).text),
                tables=_names([t.name for t in self._run.schema.tables], TABLES, _question(state).text),
            )
        )
        messages = [SystemMessage(prompt), _question(state)]
        reply = await ask(self._run, messages, [], "none", response_format=_format(options))
        return _read(reply.text, options)

    async def call(self, state: RouterState) -> dict[str, Any]:
        """The forced calls of the route, asked for at the same time and joined in one message."""
        names = FORCED[state["route"]]
        if state["refused"]:
            names = (QUERY,)
        replies = await asyncio.gather(*(self._forced(state, name) for name in names))
        return {"messages": [AIMessage("", id=str(uuid7()), tool_calls=replies)]}

    async def _forced(self, state: RouterState, name: str) -> ToolCall:
        reply = await ask(self._run, self._prompt(state), self._tools(state), name)
        calls = [call for call in reply.tool_calls if call["name"] == name]
        return calls[0] if calls else _fallback(name, _question(state).text)

    async def tools(self, state: RouterState) -> dict[str, Any]:
        last = state["messages"][-1]
        calls = last.tool_calls if isinstance(last, AIMessage) else []
        results = await asyncio.gather(*(self._tool(call) for call in calls))
        refused = sum(result.status == "error" for result in results)
        return {"messages": list(results), "refused": state["refused"] + refused}

    async def _tool(self, call: ToolCall) -> ToolMessage:
        async def execute() -> ToolMessage:
            message: ToolMessage = await self._run.tools[call["name"]].ainvoke({**call, "type": "tool_call"})
            return message

        return await run_tool(self._run, call, execute)

    async def answer(self, state: RouterState) -> dict[str, Any]:
        reply = await ask(self._run, self._prompt(state), self._tools(state), "none", stream=True)
        return {"messages": [reply]}

    def after_tools(self, state: RouterState) -> Literal["call", "answer"]:
        """Back to the model where its SELECT was refused and it may still correct it."""
        last = state["messages"][-1]
        failed = isinstance(last, ToolMessage) and last.status == "error" and last.name == QUERY
        return "call" if failed and state["refused"] <= self._run.spec.limits.repairs else "answer"

    def _prompt(self, state: RouterState) -> list[Any]:
        return [system_message(self._run, self._schema(state)), *self._run.history, *state["messages"]]

    def _schema(self, state: RouterState) -> Schema:
        return self._run.schema if QUERY in FORCED[state["route"]] else Schema()

    def _tools(self, state: RouterState) -> list[dict[str, Any]]:
        """The tools of the route's side of the house: a prompt without the other side is short and plain."""
        sides = {name.split("_")[0] for name in FORCED[state["route"]]}
        names = [name for name in self._run.spec.tools if not sides or name.split("_")[0] in sides]
        return tool_definitions(self._run, names, self._schema(state))


def build(run: Run, saver: BaseCheckpointSaver[str] | None) -> CompiledStateGraph[Any, Any, Any, Any]:
    """The graph of one run. Its tools hold the run's own connection, so it is built per run."""
    router, graph = Router(run), StateGraph(RouterState)
    for node in (router.route, router.call, router.tools, router.answer):
        graph.add_node(node.__name__, node)
    graph.add_edge(START, "route")
    graph.add_conditional_edges("route", _after_route, ["call", "answer"])
    graph.add_edge("call", "tools")
    graph.add_conditional_edges("tools", router.after_tools, ["call", "answer"])
    graph.add_edge("answer", END)
    return graph.compile(checkpointer=saver, name=run.spec.name)


def _after_route(state: RouterState) -> Literal["call", "answer"]:
    return "call" if FORCED[state["route"]] else "answer"


def _question(state: RouterState) -> HumanMessage:
    return next(m for m in reversed(state["messages"]) if isinstance(m, HumanMessage))


def _names(names: Sequence[str], most: int, question: str) -> str:
    """At most so many names, those first that share words with the question."""
    wanted = words(question)
    ranked = sorted(names, key=lambda name: -len(words(name) & wanted)) if len(names) > most else names
    return ", ".join(ranked[:most]) or "none"


def _format(options: list[Route]) -> dict[str, Any]:
    schema = {
        "type": "object",
        "properties": {"route": {"type": "string", "enum": options}},
        "required": ["route"],
        "additionalProperties": False,
    }
    return {"type": "json_schema", "json_schema": {"name": "route", "strict": True, "schema": schema}}


def _read(text: str, options: list[Route]) -> Route:
    """The chosen route; for a server that ignores json_schema the first option that the text names, and
    the widest one where it names none."""
    try:
        chosen = json.loads(text)["route"]
    except (ValueError, KeyError, TypeError):
        chosen = next((option for option in options if option in text), options[-1])
    return chosen if chosen in options else options[-1]


def _fallback(name: str, question: str) -> ToolCall:
    """For a server that ignores tool_choice: search for the question itself; a SELECT cannot be guessed."""
    arguments = {"query": question} if name == SEARCH else {"sql": ""}
    return ToolCall(name=name, args=arguments, id=f"call_{uuid7().hex[:12]}", type="tool_call")
