"""Asking an agent: one service for /v1, /api/v1 and, through it, the command line."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage

from gateway.agents.service import AgentList
from gateway.chat.records import Records
from gateway.chat.run import ChatRun
from gateway.context import CallIdentity
from gateway.conversations.service import Conversations, Turn
from gateway.databases.service import Databases
from gateway.documents.service import Documents
from gateway.errors import BadRequest, Forbidden, ShuttingDown
from gateway.hop import Hop
from gateway.policy import Caller, ProjectFacts, Scope, decide
from gateway.projects.store import Project
from graphs.agent import Agents, Ground, Question
from graphs.spec import AgentSpec
from graphs.tracing import UNTRACED, RunTrace, Tracing


@dataclass(frozen=True)
class Ask:
    """A question to an agent. `history` replaces the stored one for clients that keep their own."""

    agent: str
    text: str
    conversation_id: str | None = None
    history: Sequence[tuple[str, str]] | None = None
    system: str = ""
    sampling: dict[str, Any] = field(default_factory=dict)


class Chats:
    def __init__(
        self,
        agents: Agents,
        specs: AgentList,
        conversations: Conversations,
        documents: Documents,
        databases: Databases,
        hop: Hop,
        tracing: Tracing | None = None,
        *,
        logprobs: bool = False,
    ) -> None:
        """`logprobs`: whether every model call of a traced answer asks for those of its tokens."""
        self._agents = agents
        self._specs = specs
        self._conversations = conversations
        self._documents = documents
        self._databases = databases
        self._hop = hop
        self._tracing = tracing
        self._logprobs = logprobs and tracing is not None
        self.records = Records(conversations)
        self._stopping = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self.draining = False

    def drain(self, seconds: float) -> None:
        """No new answers from now on; the running ones may go on for so long. Safe in a signal handler."""
        self.draining = True
        self._loop.call_soon_threadsafe(self._loop.call_later, seconds, self._stopping.set)

    async def begin(self, caller: Caller, project: Project, ask: Ask, request_id: str) -> ChatRun:
        """Checks and stores the question. Raises before anything runs: UnknownAgent, Forbidden, NotFound."""
        if not ask.text.strip():
            raise BadRequest("The message is empty.", param="message")
        spec = self._permitted(caller, project, ask.agent)
        await self.records.catch_up()
        turn = await self._conversations.begin(caller, project.id, spec.name, ask.text, ask.conversation_id)
        async with self.records.begin(turn):
            return await self._start(caller, project, spec, turn, ask, request_id)

    async def retry(self, caller: Caller, project: Project, answer_id: str, request_id: str) -> ChatRun:
        """Runs an answer that stopped early again, from its last checkpoint."""
        await self.records.catch_up()
        turn, text, agent = await self._conversations.resume(caller, project.id, answer_id)
        async with self.records.begin(turn):
            spec = self._permitted(caller, project, agent)
            return await self._start(caller, project, spec, turn, Ask(agent, text), request_id)

    def _permitted(self, caller: Caller, project: Project, agent: str) -> AgentSpec:
        if self.draining:
            raise ShuttingDown("The gateway is stopping. Try again in a moment.")
        facts = ProjectFacts(project.id, project.account_id)
        spec = self._specs.get(agent)
        for tool in spec.tools:
            if not (decision := decide(caller, tool, facts, through=Scope.CHAT)):
                raise Forbidden(decision.reason)
        return spec

    async def _start(
        self, caller: Caller, project: Project, spec: AgentSpec, turn: Turn, ask: Ask, request_id: str
    ) -> ChatRun:
        links = await self._databases.addresses(project.id)
        identity = CallIdentity(
            caller.user_id, project.id, request_id, turn.trace_id, databases=[(d.name, d.url) for d in links]
        )
        ground = Ground(
            key=(project.id, tuple(link.id for link in links)),
            documents=await self._documents.titles(project.id),
            databases=[link.name for link in links],
        )
        history = _messages(turn.history if ask.history is None else ask.history)
        question = Question(ask.text, history, ask.system, self._sampling(ask))
        trace = self._trace(caller, project, spec, turn, request_id)
        client = self._hop.client(identity)
        source = self._agents.answer(spec, question, ground, client, turn.answer_id, trace)
        return ChatRun(turn, spec.name, source, partial(self.records.end, turn), self._stopping, trace)

    def _sampling(self, ask: Ask) -> dict[str, Any]:
        if not self._logprobs:
            return ask.sampling
        return {**ask.sampling, "extra": {"logprobs": True, **ask.sampling.get("extra", {})}}

    def _trace(
        self, caller: Caller, project: Project, spec: AgentSpec, turn: Turn, request_id: str
    ) -> RunTrace:
        if self._tracing is None:
            return UNTRACED
        facts = {"project": project.name, "message_id": turn.answer_id, "request_id": request_id}
        return self._tracing.begin(
            turn.trace_id,
            session=turn.conversation_id,
            user=caller.user_id,
            tags=[spec.name],
            metadata={"agent": spec.name, **facts},
        )


def _messages(history: Sequence[tuple[str, str]]) -> list[BaseMessage]:
    kinds = {"user": HumanMessage, "assistant": AIMessage}
    return [kinds[role](text) for role, text in history if role in kinds]
