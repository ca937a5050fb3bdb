"""A request with the client's own tools, from its coming to its record and its trace.

A client asks, runs the tools that the model calls, and asks again with their results: those rounds are one
exchange, with one trace. What stands in the record of conversations is its question and how it ended.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import time
from collections.abc import AsyncGenerator, Awaitable
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar
from uuid import UUID

from gateway.conversations.service import Outcome, Turn
from gateway.errors import failure
from gateway.ids import new_id
from gateway.policy import Caller
from gateway.projects.store import Project
from gateway.v1.heard import Heard
from gateway.v1.schemas import ChatCompletionIn
from gateway.v1.service import agent_and_project, text_history
from gateway.wiring import Services
from graphs.default_model import Answering
from graphs.errors import ModelUnavailable
from graphs.events import Timings
from graphs.model_call import ModelCall

T = TypeVar("T")
GONE = "The client went away before the answer was complete."
_closing: set[asyncio.Task[None]] = set()
"""Strong references: the event loop keeps weak ones only."""
_log = logging.getLogger(__name__)


@dataclass
class Exchange:
    """One round. `sent` is the body that the model server got, and `missing` the model that was chosen and
    is not served."""

    services: Services
    caller: Caller
    project: Project
    asked: ChatCompletionIn
    request_id: str
    sent: dict[str, Any]
    missing: str = ""
    heard: Heard = field(default_factory=Heard)
    began: int = field(default_factory=time.time_ns)

    def meant_for(self, answering: Answering) -> dict[str, Any]:
        """The body for the model that answers."""
        self.sent["model"], self.missing = answering.card.id, answering.missing
        given = self.asked.model_extra or {}
        told = {"usage": self.asked.with_usage, "logprobs": bool(given.get("logprobs"))}
        self.heard.hides = [name for name, wanted in told.items() if not wanted]
        return self.sent

    async def watched(self, chunks: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
        """The same chunks. The books are closed when they end, break off or are read no more."""
        problem: BaseException | None = None
        try:
            async with aclosing(chunks):
                async for chunk in chunks:
                    yield chunk
        except BaseException as error:
            problem = error
            raise
        finally:
            await self.close(problem)

    async def opened(self, work: Awaitable[T]) -> T:
        """The work's result; where it fails the books are closed first."""
        try:
            return await work
        except BaseException as error:
            await self.close(error)
            raise

    async def close(self, problem: BaseException | None = None) -> None:
        """Traces the round and, unless the model asked for tools, stores how the exchange ended."""
        # A task of its own, so that the cancellation that ends a request does not end its record too.
        task = asyncio.create_task(self._close(problem))
        _closing.add(task)
        task.add_done_callback(_closing.discard)
        await asyncio.shield(task)

    async def _close(self, problem: BaseException | None) -> None:
        ended, outcome = time.time_ns(), self._outcome(problem)
        call, trace_id = self._call(outcome, ended), self._trace_id()
        turn, session = await self._begun(outcome, trace_id)
        generation = self._traced(call, trace_id, session, turn)
        if turn is None or outcome is None:
            return
        times = Timings(total_ms=call.ms, model_ms=call.ms, first_token_ms=call.first_ms)
        made = replace(
            outcome, timings=times.model_dump(), usage=dict(call.usage) or None, generation_id=generation
        )
        try:
            await self.services.chats.records.end(turn, made)
        except Exception:
            _log.warning("an answer is not stored yet", extra={"trace_id": trace_id}, exc_info=True)

    def _outcome(self, problem: BaseException | None) -> Outcome | None:
        """None where the exchange goes on: the model asked for tools."""
        text = self.heard.text
        if isinstance(problem, asyncio.CancelledError | GeneratorExit) and not self.heard.ended:
            return Outcome("cancelled", text, [], [])
        if isinstance(problem, Exception):
            return Outcome("failed", text, [], [], error=failure(problem))
        if self.heard.error:
            told = failure(ModelUnavailable(self.heard.error))
            return Outcome("failed", text, [], [], error=told)
        return Outcome("complete", text, [], []) if text and not self.heard.calls else None

    def _call(self, outcome: Outcome | None, ended: int) -> ModelCall:
        heard, state = self.heard, outcome.state if outcome else "complete"
        call = ModelCall(
            asked=self.sent,
            began=self.began,
            ended=ended,
            message=heard.message,
            model=heard.model or self.sent["model"],
            usage=heard.usage,
            first=heard.first,
            logprobs=heard.logprobs.plain(),
        )
        if state == "cancelled":
            return replace(call, problem=GONE, level="WARNING")
        error = outcome.error if outcome else None
        return replace(call, problem=str(error["message"]), level="ERROR") if error else call

    def _trace_id(self) -> str:
        """The same for all rounds: it hangs on the first tool call of the exchange, which the model server
        named. An exchange without any is one round."""
        after = self.asked.messages[self._last_user() + 1 :]
        calls = [call for message in after for call in message.tool_calls or ()]
        calls = calls or list(self.heard.calls.values())
        name = calls[0].get("id") if calls else None
        if not name:
            return new_id().replace("-", "")
        asked = [message.text for message in self.asked.messages[: self._last_user() + 1]]
        whole = [self.caller.user_id, self.project.id, self.asked.model, asked, name]
        return hashlib.sha256(json.dumps(whole).encode()).hexdigest()[:32]

    async def _begun(self, outcome: Outcome | None, trace_id: str) -> tuple[Turn | None, str]:
        """The stored question of an exchange that is over, and the conversation that it is in, or will be."""
        kept, agent, at = self.services.conversations, self._agent, self._last_user()
        session = str(UUID(trace_id))
        if at < 0:
            return None, session
        history = text_history(self.asked.messages[:at])
        try:
            known = await kept.recognise(self.caller, self.project.id, agent, history)
            if outcome is None:
                return None, known or session
            turn = await kept.begin(
                *(self.caller, self.project.id, agent, self.asked.messages[at].text, known),
                trace_id=trace_id,
                new=session,
            )
            return turn, turn.conversation_id
        except Exception:
            _log.warning("an exchange is not stored", extra={"trace_id": trace_id}, exc_info=True)
            return None, session

    def _traced(self, call: ModelCall, trace_id: str, session: str, turn: Turn | None) -> str | None:
        if self.services.tracing is None:
            return None
        facts = {"agent": self._agent, "project": self.project.name, "request_id": self.request_id}
        facts |= {"message_id": turn.answer_id} if turn else {}
        facts |= {"missing_model": self.missing} if self.missing else {}
        return self.services.tracing.passed_through(
            *(trace_id, call), session=session, user=self.caller.user_id, agent=self._agent, metadata=facts
        )

    @property
    def _agent(self) -> str:
        return agent_and_project(self.asked.model)[0]

    def _last_user(self) -> int:
        """Where the question stands; -1 where there is none."""
        users = [at for at, message in enumerate(self.asked.messages) if message.role == "user"]
        return users[-1] if users else -1
