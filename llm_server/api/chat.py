"""POST /v1/chat/completions."""

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

from fastapi import APIRouter, Depends, Request
from starlette.responses import JSONResponse, Response

from llm_server.api.access import adapted, embed_of
from llm_server.api.auth import INFERENCE, require
from llm_server.api.forward import route
from llm_server.api.payloads import Answer, Head, Payload, usage_of
from llm_server.api.prepare import Job, chat_job
from llm_server.api.schemas import ChatRequest
from llm_server.api.sse import Chained, SseResponse, unless_gone
from llm_server.api.stream import Stream
from llm_server.engine.sequence import Delta, Failed, Finished
from llm_server.tool_calls import OutputReader

router = APIRouter(dependencies=[Depends(require(INFERENCE))])


@router.post("/v1/chat/completions")
async def chat(request: Request, body: ChatRequest) -> Response:
    """An assistant message for a conversation, whole or as a stream of chunks."""
    entry = await route(request, body.model, "chat/completions")
    if isinstance(entry, Response):
        return entry
    model = adapted(request, entry, body.wanted)
    job = await asyncio.to_thread(chat_job, model, body, embed_of(request) if body.grounding else None)
    count = body.n or 1
    if not body.stream:
        return await unless_gone(request, _whole(job, count, bool(body.logprobs)))
    chunks = _chunks(job, count, body.include_usage)
    # The first chunk is made here: a full queue is still an error with its own status.
    first = await anext(chunks)
    return SseResponse(Chained(first, chunks))


async def _whole(job: Job, count: int, logprobs: bool) -> Response:
    answers, readers = _answers(job, count)
    async with Stream(job.model.engine, count, job.sequence) as stream:
        async for index, event in stream:
            match event:
                case Delta(text, scores):
                    answers[index].scores.extend(scores)
                    _take(answers[index], readers[index], text)
                case Finished(reason, usage):
                    _take(answers[index], readers[index], None)
                    answers[index].finish(reason, usage)
                case Failed(error):
                    raise error
    head = Head("chatcmpl", job.model.served, "chat.completion", job.model.fingerprint)
    usages = [answer.usage for answer in answers if answer.usage]
    return JSONResponse(head.payload([a.choice(logprobs) for a in answers], usage_of(usages)))


async def _chunks(job: Job, count: int, include_usage: bool) -> AsyncGenerator[Payload, None]:
    answers, readers = _answers(job, count)
    head = Head("chatcmpl", job.model.served, "chat.completion.chunk", job.model.fingerprint)
    more: dict[str, Any] = {"usage": None} if include_usage else {}
    async with Stream(job.model.engine, count, job.sequence) as stream:
        for answer in answers:
            yield head.payload([answer.chunk({"role": "assistant", "content": ""})], **more)
        async for index, event in stream:
            answer = answers[index]
            match event:
                case Delta(text, scores):
                    deltas = _take(answer, readers[index], text) or ([{}] if scores else [])
                    for i, delta in enumerate(deltas):
                        yield head.payload([answer.chunk(delta, scores if i == 0 else ())], **more)
                case Finished(reason, usage):
                    for delta in _take(answer, readers[index], None):
                        yield head.payload([answer.chunk(delta)], **more)
                    answer.finish(reason, usage)
                    yield head.payload([answer.chunk({}, reason=answer.reason)], **more)
                case Failed(error):
                    raise error
    if include_usage:
        yield head.payload([], usage_of([answer.usage for answer in answers if answer.usage]))


def _answers(job: Job, count: int) -> tuple[list[Answer], list[OutputReader]]:
    return [Answer(i) for i in range(count)], [job.reader() for _ in range(count)]


def _take(answer: Answer, reader: OutputReader, text: str | None) -> list[Payload]:
    """Deltas of a piece of output; None is its end."""
    return [answer.add(part) for part in (reader.flush() if text is None else reader.feed(text))]
