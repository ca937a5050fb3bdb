"""One answer in the making: events for the reader, and the record for the database."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

from gateway.conversations.service import INTERRUPTED, Outcome, Turn
from gateway.errors import problem
from graphs.events import Answered, AnyEvent, Sources, Token

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Sent:
    """An event as the wire has it."""

    name: str
    data: dict[str, Any]


@dataclass
class ChatRun:
    """Reading `events` is what drives the run; to stop reading is to cancel it."""

    turn: Turn
    agent: str
    source: AsyncGenerator[AnyEvent, None]
    finish: Callable[[Outcome], Awaitable[None]]
    is_draining: Callable[[], bool]
    _said: list[str] = field(default_factory=list)
    _steps: list[dict[str, Any]] = field(default_factory=list)
    _sources: list[dict[str, Any]] = field(default_factory=list)
    _ended: bool = False

    async def events(self) -> AsyncGenerator[Sent, None]:
        """start, the run's own events, then done or error. The record is written whatever happens."""
        turn = self.turn
        try:
            yield Sent(
                "start",
                {
                    "conversation_id": turn.conversation_id,
                    "question_id": turn.question_id,
                    "message_id": turn.answer_id,
                    "trace_id": turn.trace_id,
                    "agent": self.agent,
                },
            )
            async with aclosing(self.source) as events:
                async for event in events:
                    yield await self._sent(event)
        except (GeneratorExit, asyncio.CancelledError):
            await self._stopped()
            raise
        except Exception as error:
            yield await self._failed(error)

    async def _sent(self, event: AnyEvent) -> Sent:
        data = event.data()
        if isinstance(event, Token):
            self._said.append(event.text)
        elif isinstance(event, Sources):
            self._sources = data["items"]
        elif isinstance(event, Answered):
            self._ended = True
            await self.finish(self._outcome("complete", event.answer, data["usage"], data["timings"]))
            return Sent("done", {"message_id": self.turn.answer_id, **data})
        else:
            self._steps.append({"event": event.name, "data": data})
        return Sent(event.name, data)

    async def _stopped(self) -> None:
        """The reader went away, or the gateway is stopping."""
        if self._ended:
            return
        self._ended = True
        state = "interrupted" if self.is_draining() else "cancelled"
        error = INTERRUPTED if state == "interrupted" else None
        await self.finish(self._outcome(state, "".join(self._said), error=error))

    async def _failed(self, error: Exception) -> Sent:
        self._ended = True
        status, body, retryable = problem(error)
        told = {"message": body["message"], "code": body["code"], "retryable": retryable, "status": status}
        _log.warning("answer failed", extra={"trace_id": self.turn.trace_id, "code": body["code"]})
        await self.finish(self._outcome("failed", "".join(self._said), error=told))
        return Sent("error", told)

    def _outcome(
        self,
        state: str,
        content: str,
        usage: dict[str, Any] | None = None,
        timings: dict[str, Any] | None = None,
        error: dict[str, Any] | None = None,
    ) -> Outcome:
        return Outcome(state, content, self._steps, self._sources, usage, timings, error)
