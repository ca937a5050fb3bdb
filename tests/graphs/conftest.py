"""Agents on a scripted model server and an in-memory tools service."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx2
import pytest
from fastmcp import Client
from langchain_core.messages import BaseMessage

from graphs.agent import Agents, Ground, Question
from graphs.checkpoints import open_sqlite
from graphs.default_model import DefaultModel
from graphs.events import Answered, AnyEvent, Token
from graphs.llm import Models
from graphs.load import load_agents
from graphs.spec import AgentSpec
from tests.graphs.model_server import ModelServer, Script, model_server
from tests.graphs.tool_server import ToolServer

GROUND = Ground(key="project", documents=("leave", "travel"), databases=("music",))


class Bench:
    """Starts model servers on demand and asks agents."""

    def __init__(self, folder: Path, stack: AsyncExitStack) -> None:
        self._folder = folder
        self._stack = stack
        self.tools = ToolServer(folder / "music.db")
        self.specs = load_agents()
        self.model: ModelServer
        self.agents: Agents

    async def start(self, script: Script, **options: Any) -> None:
        self.model = await self._stack.enter_async_context(model_server(script, **options))
        http = await self._stack.enter_async_context(httpx2.AsyncClient(trust_env=False))
        saver = await self._stack.enter_async_context(open_sqlite(self._folder / "checkpoints.db"))
        self.agents = Agents(DefaultModel(Models(self.model.url, "key", http)), saver)

    async def ask(
        self,
        agent: str | AgentSpec,
        text: str,
        *,
        history: Sequence[BaseMessage] = (),
        ground: Ground = GROUND,
        run_id: str = "run",
        **question: Any,
    ) -> list[AnyEvent]:
        spec = self.specs[agent] if isinstance(agent, str) else agent
        asked = Question(text, history, **question)
        client = Client(self.tools.mcp())
        return [event async for event in self.agents.answer(spec, asked, ground, client, run_id)]


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    async with AsyncExitStack() as stack:
        yield Bench(tmp_path, stack)


def kinds(events: Sequence[AnyEvent]) -> list[str]:
    """The names of the events, with each run of tokens as one."""
    names = [event.name for event in events]
    return [name for i, name in enumerate(names) if not (name == "token" and i and names[i - 1] == "token")]


def spoken(events: Sequence[AnyEvent]) -> str:
    return "".join(event.text for event in events if isinstance(event, Token))


def answered(events: Sequence[AnyEvent]) -> Answered:
    last = events[-1]
    assert isinstance(last, Answered)
    return last
