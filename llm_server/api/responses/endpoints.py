"""POST /v1/responses, and what may be done with a response afterwards."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Annotated, Any, Literal

import httpx
from fastapi import APIRouter, Depends, Query, Request
from starlette.responses import JSONResponse, Response

from llm_server.api.access import adapted, embed_of, find
from llm_server.api.auth import INFERENCE, owner_of, require
from llm_server.api.forward import ask, relayed
from llm_server.api.payloads import Payload
from llm_server.api.prepare import Job, chat_job
from llm_server.api.responses.far import far_request, respond_far
from llm_server.api.responses.items import chat_request, normalised, without_oldest
from llm_server.api.responses.respond import ENDS, blank, numbered, respond
from llm_server.api.responses.schemas import Item, ResponseRequest
from llm_server.api.schemas import ChatRequest
from llm_server.api.sse import Chained, SseResponse, unless_gone
from llm_server.catalog import ChatModel, Entry, UpstreamModel
from llm_server.constraints.fitting import Embed
from llm_server.errors import ContextLengthExceeded, ResponseNotFound
from llm_server.response_store import ResponseStore, Stored

router = APIRouter(prefix="/v1/responses", dependencies=[Depends(require(INFERENCE))])


@router.post("")
async def create(request: Request, body: ResponseRequest) -> Response:
    """A response, whole or as a stream of named events."""
    items = await _items(request, body)
    begun = await _begun(request, body, items)
    if isinstance(begun, Response):
        return begun
    response, events = begun
    if body.store is not False:
        events = _storing(events, request, items)
    if not body.stream:
        return await unless_gone(request, _whole(events))
    # The first event is made here: a full queue is still an error with its own status.
    first = {**await anext(events), "sequence_number": 0}
    return SseResponse(Chained(first, numbered(events, response), events), named=True)


@router.post("/input_tokens")
async def input_tokens(request: Request, body: ResponseRequest) -> Payload:
    """The number of tokens that a request would read."""
    items = await _items(request, body)
    job = await _job(request, find(request, body.model), body, items)
    return {"object": "response.input_tokens", "input_tokens": len(job.tokens)}


@router.get("/{identity}")
async def get(request: Request, identity: str) -> Payload:
    """A response that was stored for this key."""
    return (await _stored(request, identity)).response


@router.delete("/{identity}")
async def delete(request: Request, identity: str) -> Payload:
    """Forget a response."""
    store: ResponseStore = request.app.state.responses
    if not await asyncio.to_thread(store.delete, owner_of(request), identity):
        raise ResponseNotFound(identity)
    return {"id": identity, "object": "response", "deleted": True}


@router.get("/{identity}/input_items")
async def input_items(
    request: Request,
    identity: str,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    order: Literal["asc", "desc"] = "desc",
    after: str | None = None,
) -> Payload:
    """What the model was shown, turns before it included; instructions are in the response itself."""
    items = (await _stored(request, identity)).input
    items = items if order == "asc" else items[::-1]
    start = next((i + 1 for i, item in enumerate(items) if item["id"] == after), 0)
    page = items[start : start + limit]
    return {
        "object": "list",
        "data": page,
        "first_id": page[0]["id"] if page else "",
        "last_id": page[-1]["id"] if page else "",
        "has_more": start + limit < len(items),
    }


async def _begun(
    request: Request, body: ResponseRequest, items: list[Item]
) -> Response | tuple[Payload, AsyncGenerator[Payload, None]]:
    """A response that has not said anything and its events, by a model of this server or by the chats of
    another one; or that server's error.
    """
    entry = find(request, body.model)
    if isinstance(entry, UpstreamModel):
        sent = far_request(body, await asyncio.to_thread(chat_request, body, items))
        found = await ask(request, body.model, "chat/completions", sent)
        if isinstance(found, Response):
            return found
        if isinstance(found, httpx.Response):
            if found.is_error:
                return await relayed(request, found)
            response = blank(body, entry.id, body.temperature, body.top_p)
            return response, respond_far(found, response, logprobs=body.logprobs)
        entry = found
    job = await _job(request, entry, body, items)
    response = blank(body, job.model.served, job.params.temperature, job.params.top_p)
    return response, respond(job, response, logprobs=body.logprobs)


async def _job(request: Request, entry: Entry, body: ResponseRequest, items: list[Item]) -> Job:
    """Chat's job for a model that the key may use."""
    chat = await asyncio.to_thread(chat_request, body, items)
    model = adapted(request, entry, chat.wanted)
    embed = embed_of(request) if chat.grounding else None
    return await asyncio.to_thread(_fitting_job, model, chat, embed, shorten=body.truncation == "auto")


def _fitting_job(model: ChatModel, chat: ChatRequest, embed: Embed | None, *, shorten: bool) -> Job:
    """With `truncation: auto` the oldest messages go until the rest fits."""
    while True:
        try:
            return chat_job(model, chat, embed)
        except ContextLengthExceeded:
            shorter = without_oldest(chat) if shorten else None
            if shorter is None:
                raise
            chat = shorter


async def _items(request: Request, body: ResponseRequest) -> list[Item]:
    """The items of the response before, then those of this request."""
    given = normalised(body.input)
    if body.previous_response_id is None:
        return given
    before = await _stored(request, body.previous_response_id, "previous_response_id")
    return [*before.input, *before.response["output"], *given]


async def _stored(request: Request, identity: str, param: str | None = None) -> Stored:
    store: ResponseStore = request.app.state.responses
    found = await asyncio.to_thread(store.get, owner_of(request), identity)
    if found is None:
        raise ResponseNotFound(identity, param)
    return found


async def _storing(
    events: AsyncGenerator[Payload, None], request: Request, items: list[Item]
) -> AsyncGenerator[Payload, None]:
    """The events; the response is stored before its last one tells of it."""
    store: ResponseStore = request.app.state.responses
    async with aclosing(events):
        async for event in events:
            if event["type"] in ENDS:
                stored = Stored(event["response"], items)
                await asyncio.to_thread(store.put, owner_of(request), stored)
            yield event


async def _whole(events: AsyncGenerator[Payload, None]) -> Response:
    last: dict[str, Any] = {}
    async for event in events:
        last = event
    return JSONResponse(last["response"])
