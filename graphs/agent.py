"""One question in, typed events out."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Hashable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

from fastmcp import Client
from langchain.agents.middleware.model_call_limit import ModelCallLimitExceededError
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, HumanMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import BaseTool
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.errors import GraphRecursionError
from langgraph.graph.state import CompiledStateGraph
from langgraph.types import StreamMode

from graphs import checkpoints
from graphs.builders import router, tool_agent
from graphs.citations import verify
from graphs.database_schema import Schema, SchemaCache, parse
from graphs.default_model import DefaultModel
from graphs.errors import StepLimit, TimeLimit
from graphs.events import Answered, AnyEvent, Notice, Sources, Token, unpack
from graphs.limits import Budget
from graphs.mcp_tools import connected
from graphs.spec import AgentSpec
from graphs.state import Run
from graphs.steps import found_passages, system_message
from graphs.tracing import UNTRACED, RunTrace, exact_model

ASKED = 4_000
"""Characters of the last questions in which cells of a database are looked for."""
_log = logging.getLogger(__name__)
_BUILDERS = {"tools": tool_agent.build, "router": router.build}
_ANSWER_NODES = {tool_agent.ANSWER_NODE, router.ANSWER_NODE}


@dataclass(frozen=True)
class Question:
    """What is asked. `history` holds earlier questions and answers as text, the oldest first."""

    text: str
    history: Sequence[BaseMessage] = ()
    system: str = ""
    """What the caller adds to the agent's persona."""
    sampling: dict[str, Any] = field(default_factory=dict)
    """`temperature`, `max_tokens`, and under `extra` what goes to the model server as it is."""


@dataclass(frozen=True)
class Ground:
    """What the project has. `key` changes whenever its databases do (it keys the schema cache)."""

    key: Hashable
    documents: Sequence[str] = ()
    databases: Sequence[str] = ()


@dataclass
class Agents:
    """Runs agents: the model server, the checkpoints and the cached schemas that all runs share."""

    default: DefaultModel
    saver: BaseCheckpointSaver[str] | None = None
    schemas: SchemaCache = field(default_factory=SchemaCache)

    async def answer(
        self,
        spec: AgentSpec,
        question: Question,
        ground: Ground,
        client: Client[Any],
        run_id: str,
        trace: RunTrace = UNTRACED,
    ) -> AsyncGenerator[AnyEvent, None]:
        """The events of one run; `Answered` is the last. A run of the same `run_id` that was cut off goes on
        where it stopped. Closing the generator cancels the run, and with it the model and tool requests.

        Raises GraphsError or RunStopped.
        """
        events: asyncio.Queue[AnyEvent | None] = asyncio.Queue()
        # A task of its own: what it opens is closed by the task that opened it, whoever reads the events.
        task = asyncio.create_task(self._think(spec, question, ground, client, run_id, trace, events))
        task.add_done_callback(lambda _: events.put_nowait(None))
        try:
            while (event := await events.get()) is not None:
                yield event
            await task
        finally:
            task.cancel()
            await asyncio.wait([task])

    async def _think(
        self,
        spec: AgentSpec,
        question: Question,
        ground: Ground,
        client: Client[Any],
        run_id: str,
        trace: RunTrace,
        events: asyncio.Queue[AnyEvent | None],
    ) -> None:
        limits = spec.limits
        try:
            async with asyncio.timeout(limits.seconds), connected(client) as tools:
                run = await self._prepare(spec, question, ground, tools, events)
                graph = _BUILDERS[spec.kind](run, self.saver)
                async with aclosing(self._stream(graph, run, question, run_id, trace)) as stream:
                    async for event in stream:
                        events.put_nowait(event)
        except TimeoutError as error:
            raise TimeLimit(f"No answer within {limits.seconds:g} s, the limit of {spec.name}.") from error
        except (ModelCallLimitExceededError, GraphRecursionError) as error:
            raise StepLimit(f"No answer within {limits.steps} steps, the limit of {spec.name}.") from error
        if self.saver:
            await checkpoints.forget(self.saver, run_id)

    async def _prepare(
        self,
        spec: AgentSpec,
        question: Question,
        ground: Ground,
        tools: dict[str, BaseTool],
        events: asyncio.Queue[AnyEvent | None],
    ) -> Run:
        answering = await self.default.answering(spec.model)
        card = answering.card
        answer = question.sampling.get("max_tokens") or spec.limits.answer_tokens
        budget = Budget(card.context, answer, card.characters_per_token)
        allowed = {name: tool for name, tool in tools.items() if name in spec.tools}
        schema = await self._schema(spec, ground, tools)
        fitted = schema.fitted(budget.fits_schema, question.text)
        if fitted.tables and "x-sql-values" in card.extensions and "sql_values" in tools:
            fitted = fitted.naming(await _structured(tools["sql_values"], text=_asked(question)))
        history = budget.history(question.history)
        cut = _notices(len(question.history) - len(history), fitted.left_out)
        for notice in (*answering.notices(), *cut):
            events.put_nowait(notice)
        texts = (spec.persona, question.system, fitted.text, question.text)
        budget = budget.with_room(texts, history, len(allowed))
        return Run(
            spec=spec,
            models=self.default.models,
            card=card,
            missing=answering.missing,
            budget=budget,
            tools=allowed,
            schema=fitted,
            documents=ground.documents,
            history=history,
            system=question.system,
            sampling=question.sampling,
        )

    async def _schema(self, spec: AgentSpec, ground: Ground, tools: dict[str, BaseTool]) -> Schema:
        if not (spec.uses_database and ground.databases and "sql_describe" in tools):
            return Schema()

        async def read() -> Schema:
            return parse(await _structured(tools["sql_describe"]))

        return await self.schemas.get(ground.key, read)

    async def _stream(
        self,
        graph: CompiledStateGraph[Any, Any, Any, Any],
        run: Run,
        question: Question,
        run_id: str,
        trace: RunTrace,
    ) -> AsyncGenerator[AnyEvent, None]:
        config: RunnableConfig = {
            **trace.config(system_message(run, Schema()).text, run.card.id, run.missing),
            "configurable": {"thread_id": run_id},
            # A step of ours is at most a model and a tool node, each with its middleware.
            "recursion_limit": run.spec.limits.steps * 4 + 8,
        }
        begun = bool(self.saver and (await graph.aget_state(config)).values)
        start = None if begun else {"messages": [HumanMessage(question.text)]}
        messages: list[BaseMessage] = []
        speaker: str | None = None
        modes: list[StreamMode] = ["messages", "custom", "values"]
        parts: AsyncIterator[Any] = graph.astream(start, config, stream_mode=modes)
        async for mode, part in parts:
            if mode == "values":
                messages = part["messages"]
            elif mode == "custom":
                yield unpack(part)
            elif text := _token(part):
                run.meter.token_seen()
                # Two texts of one run (before and after a tool call) are two paragraphs.
                gap = "\n\n" if speaker not in (None, part[0].id) else ""
                speaker = part[0].id
                yield Token(text=gap + text)
        said = [m for m in messages if isinstance(m, AIMessage) and m.text]
        answer = "\n\n".join(m.text for m in said)
        yield Sources(items=tuple(verify(answer, found_passages(messages))))
        model = exact_model(said[-1]) if said else None
        yield Answered(answer=answer, model=model, usage=run.meter.usage, timings=run.meter.timings())


async def _structured(tool: BaseTool, **arguments: str) -> dict[str, Any] | None:
    """The structured result of a call that no model asked for."""
    call = {"name": tool.name, "args": arguments, "id": tool.name, "type": "tool_call"}
    message = await tool.ainvoke(call)
    found: dict[str, Any] | None = (message.artifact or {}).get("structured_content")
    return found


def _asked(question: Question) -> str:
    """The question after those before it: what they named may be meant again."""
    before = [message.text for message in question.history if isinstance(message, HumanMessage)]
    return "\n".join([*before[-2:], question.text])[-ASKED:]


def _token(part: tuple[BaseMessage, dict[str, Any]]) -> str:
    message, metadata = part
    said = isinstance(message, AIMessageChunk) and metadata.get("langgraph_node") in _ANSWER_NODES
    return message.text if said else ""


def _notices(turns: int, tables: int) -> list[Notice]:
    found = []
    if turns:
        text = f"The oldest {turns} messages of the conversation were left out to fit the model's context."
        found.append(Notice(code="history_cut", message=text))
    if tables:
        text = f"{tables} tables were left out of the prompt to fit the model's context."
        found.append(Notice(code="schema_cut", message=text))
    return found
