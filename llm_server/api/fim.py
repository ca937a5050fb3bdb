"""Filling in the middle: POST /v1/fim/completions as Mistral has it, POST /infill as llama.cpp has it."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from fastapi import APIRouter, Depends, Request
from starlette.responses import JSONResponse, Response

from llm_server.api.access import adapted, find
from llm_server.api.auth import INFERENCE, require
from llm_server.api.forward import route
from llm_server.api.payloads import Answer, Head, Payload, usage_of
from llm_server.api.prepare import Job, max_tokens, sampling
from llm_server.api.schemas import FimRequest, Generation, InfillRequest
from llm_server.api.sse import Chained, SseResponse, unless_gone
from llm_server.api.stream import Stream
from llm_server.catalog import Catalog, ChatModel, Entry
from llm_server.engine.sequence import Delta, Failed, Finished
from llm_server.infill import Excerpt, infill_prompt, repository_prompt
from llm_server.tool_calls import Content

router = APIRouter(dependencies=[Depends(require(INFERENCE))])
ANSWER_TOKENS = 256
"""Room that is kept for the answer when excerpts of other files are chosen."""


@router.post("/v1/fim/completions")
async def fim(request: Request, body: FimRequest) -> Response:
    """The text between prompt and suffix, as the content of a message."""
    entry = await route(request, body.model, "fim/completions")
    if isinstance(entry, Response):
        return entry
    model = adapted(request, entry, body.wanted)
    body.seed = body.random_seed if body.seed is None else body.seed
    job = await asyncio.to_thread(_fim_job, model, body)
    if body.stream:
        return await _streamed(_fim_chunks(job))
    return await unless_gone(request, _fim_whole(job))


@router.post("/infill")
@router.post("/v1/infill", include_in_schema=False)
async def infill(request: Request, body: InfillRequest) -> Response:
    """The text at the cursor, as llama.vim and llama.vscode ask for it."""
    # llama-server, which has invented it, has it under its root.
    entry = await route(request, body.model, "/infill") if body.model else _infill_model(request)
    if isinstance(entry, Response):
        return entry
    model = adapted(request, entry, body.wanted)
    job = await asyncio.to_thread(_infill_job, model, body)
    silent = body.n_predict == 0
    if body.stream:
        return await _streamed(_infill_chunks(job, silent))
    return await unless_gone(request, _infill_whole(job, silent))


def _infill_model(request: Request) -> Entry:
    """The first model that can fill in."""
    catalog: Catalog = request.app.state.catalog
    writers = [entry for entry in catalog.all() if isinstance(entry, ChatModel)]
    able = [entry for entry in writers if entry.engine.backend.vocabulary.fim is not None]
    first = next(iter(able or writers), None)
    return find(request, first.id if first else "")


def _fim_job(model: ChatModel, body: FimRequest) -> Job:
    tokens = infill_prompt(model.engine.backend.vocabulary, body.prompt, body.suffix or "")
    return _job(model, body, tokens, body.max_tokens)


def _infill_job(model: ChatModel, body: InfillRequest) -> Job:
    backend = model.engine.backend
    limit = body.max_tokens if body.n_predict is None else 1 if body.n_predict == 0 else body.n_predict
    tokens = repository_prompt(
        backend.vocabulary,
        body.input_prefix + body.prompt,
        body.input_suffix,
        [Excerpt(extra.filename, extra.text) for extra in body.input_extra],
        room=backend.context - ANSWER_TOKENS,
    )
    return _job(model, body, tokens, None if limit == -1 else limit)


def _job(model: ChatModel, body: Generation, tokens: list[int], wanted: int | None) -> Job:
    model.ensure()
    limit = max_tokens(model, tokens, wanted)
    return Job(model, tokens, sampling(model, body, None), limit, body.stops, lambda: None)


async def _streamed(chunks: AsyncGenerator[Payload, None]) -> Response:
    """The first chunk is made here: a full queue is still an error with its own status."""
    first = await anext(chunks)
    return SseResponse(Chained(first, chunks))


async def _events(job: Job) -> AsyncGenerator[str | Finished, None]:
    """Nothing, once the engine has taken it; text as it comes; the end."""
    async with Stream(job.model.engine, 1, job.sequence) as stream:
        yield ""
        async for _, event in stream:
            match event:
                case Delta(text):
                    yield text
                case Finished():
                    yield event
                case Failed(error):
                    raise error


async def _fim_whole(job: Job) -> Response:
    answer = Answer(0)
    async for event in _events(job):
        if isinstance(event, Finished):
            answer.finish(event.reason, event.usage)
        else:
            answer.add(Content(event))
    usages = [answer.usage] if answer.usage else []
    head = Head("cmpl", job.model.served, "chat.completion", job.model.fingerprint)
    return JSONResponse(head.payload([answer.choice(False)], usage_of(usages)))


async def _fim_chunks(job: Job) -> AsyncGenerator[Payload, None]:
    answer, head = Answer(0), Head("cmpl", job.model.served, "chat.completion.chunk", job.model.fingerprint)
    async with aclosing(_events(job)) as events:
        async for event in events:
            if isinstance(event, Finished):
                answer.finish(event.reason, event.usage)
                usage = usage_of([event.usage])
                # Mistral's last chunk carries finish_reason and usage together.
                yield head.payload([answer.chunk({"content": ""}, reason=answer.reason)], usage)
            else:
                yield head.payload([answer.chunk({"role": "assistant", **answer.add(Content(event))})])


async def _infill_whole(job: Job, silent: bool) -> Response:
    text, end = "", {}
    async for event in _events(job):
        if isinstance(event, Finished):
            end = _infill_end(job, event)
        else:
            text += event
    return JSONResponse({"content": "" if silent else text, **end})


async def _infill_chunks(job: Job, silent: bool) -> AsyncGenerator[Payload, None]:
    async with aclosing(_events(job)) as events:
        async for event in events:
            if isinstance(event, Finished):
                yield {"content": "", **_infill_end(job, event)}
            else:
                yield {"index": 0, "content": "" if silent else event, "stop": False}


def _infill_end(job: Job, end: Finished) -> dict[str, Any]:
    """The fields of llama.cpp's answer that plugins read."""
    return {
        "index": 0,
        "model": job.model.served,
        "stop": True,
        "stop_type": "limit" if end.reason == "length" else "eos",
        "tokens_evaluated": end.usage.prompt,
        "tokens_predicted": end.usage.completion,
        "tokens_cached": end.usage.cached,
        "truncated": False,
    }
