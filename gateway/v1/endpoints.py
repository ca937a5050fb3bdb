"""/v1: OpenAI's API, where each model is an agent."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Coroutine
from typing import Any

from fastapi import APIRouter, Request
from starlette.background import BackgroundTask
from starlette.responses import JSONResponse, Response

from gateway.deps import CallerDep, RequestId, ServicesDep, needs, project_named
from gateway.policy import Caller, Scope
from gateway.projects.store import Project
from gateway.sse import EventStream
from gateway.v1.chunks import Completion
from gateway.v1.exchange import Exchange
from gateway.v1.passthrough import ModelServer, upstream_body
from gateway.v1.schemas import ChatCompletionIn, ModelOut, ModelsOut
from gateway.v1.service import agent_and_project, find_project, question
from gateway.wiring import Services
from graphs.spec import AgentSpec

CREATED = 1_790_000_000
"""Agents have no birthday; clients want a number."""
router = APIRouter(prefix="/v1", tags=["openai"], dependencies=[needs(Scope.CHAT)])


@router.get("/models")
async def models(services: ServicesDep) -> ModelsOut:
    return ModelsOut(data=[_model(spec) for spec in services.agents.all()])


@router.get("/models/{name}")
async def model(name: str, services: ServicesDep) -> ModelOut:
    return _model(services.agents.get(agent_and_project(name)[0]))


@router.post("/chat/completions", response_model=None)
async def chat_completions(
    body: ChatCompletionIn,
    request: Request,
    services: ServicesDep,
    caller: CallerDep,
    request_id: RequestId,
    header: project_named = None,
) -> Response:
    """An agent's answer. With `tools` of the client its model answers alone, and nobody here runs them."""
    spec = services.agents.get(agent_and_project(body.model)[0])
    project = await find_project(services, caller, body.model, header)
    if body.is_passed_through:
        return await _pass_through(body, request, services, caller, project, spec, request_id)
    ask = await question(services, caller, project, body)
    run = await services.chats.begin(caller, project, ask, request_id)
    completion = Completion(body.model, run, body.with_usage)
    if body.stream:
        return EventStream(completion.stream())
    return JSONResponse(await _while_connected(request, completion.whole()))


async def _pass_through(
    body: ChatCompletionIn,
    request: Request,
    services: Services,
    caller: Caller,
    project: Project,
    spec: AgentSpec,
    request_id: str,
) -> Response:
    settings = services.settings
    key, marked = settings.llm_api_key.get_secret_value(), services.chat_model.marked
    server = ModelServer(services.http, settings.llm_url, key, marked)
    logprobs = settings.trace_logprobs and services.tracing is not None
    sent = upstream_body(body, spec, logprobs)
    exchange = Exchange(services, caller, project, body, request_id, sent)
    answering = await exchange.opened(services.chat_model.default.answering(spec.model))
    sent = exchange.meant_for(answering)
    if not body.stream:
        whole = server.whole(sent, body.model, exchange.heard)
        answer = await exchange.opened(_while_connected(request, whole))
        # After the answer is out: the client need not wait for our books.
        return JSONResponse(answer, background=BackgroundTask(exchange.close))
    chunks = await exchange.opened(_opened(server.stream(sent, body.model, exchange.heard)))
    return EventStream(exchange.watched(chunks))


async def _opened(chunks: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    """The same chunks, the first already there: an error before it can still be an HTTP status."""
    first = await anext(chunks)

    async def all_of_them() -> AsyncGenerator[bytes, None]:
        try:
            yield first
            async for chunk in chunks:
                yield chunk
        finally:
            await chunks.aclose()

    return all_of_them()


async def _while_connected(request: Request, work: Coroutine[Any, Any, dict[str, Any]]) -> dict[str, Any]:
    """The work's result; cancelled when the client goes away, so that the model's slot is free at once."""
    task = asyncio.create_task(work)
    gone = asyncio.create_task(_disconnected(request))
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            task.cancel()
        return await task
    finally:
        gone.cancel()
        task.cancel()


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _model(spec: AgentSpec) -> ModelOut:
    return ModelOut(id=spec.name, created=CREATED, name=spec.title, description=spec.description)
