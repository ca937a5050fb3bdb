"""POST /projects/{project}/chat: an answer as server-sent events."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from fastapi import APIRouter, Response

from gateway.chat.run import ChatRun
from gateway.chat.schemas import ChatIn
from gateway.chat.service import Ask
from gateway.deps import CallerDep, ProjectDep, RequestId, ServicesDep, needs
from gateway.policy import Scope
from gateway.sse import EventStream, event

router = APIRouter(prefix="/projects/{project}", tags=["chat"], dependencies=[needs(Scope.CHAT)])


STREAM: dict[int | str, dict[str, Any]] = {200: {"content": {"text/event-stream": {}}}}


@router.post("/chat", response_class=Response, responses=STREAM)
async def chat(
    body: ChatIn, found: ProjectDep, services: ServicesDep, caller: CallerDep, request_id: RequestId
) -> EventStream:
    """Events: start, route, tool_call, tool_result, notice, token, sources, done, error.

    Closing the connection cancels the run.
    """
    if body.retry:
        run = await services.chats.retry(caller, found, body.retry, request_id)
    else:
        ask = Ask(body.agent, body.message, body.conversation_id)
        run = await services.chats.begin(caller, found, ask, request_id)
    return EventStream(_chunks(run))


async def _chunks(run: ChatRun) -> AsyncGenerator[bytes, None]:
    async with aclosing(run.events()) as events:
        async for sent in events:
            yield event(sent.name, sent.data)
