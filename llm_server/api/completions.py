"""POST /v1/completions: text that goes on from a prompt, without a chat template."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass, replace
from itertools import accumulate

from fastapi import APIRouter, Depends, Request
from starlette.responses import JSONResponse, Response

from llm_server.api.access import adapted
from llm_server.api.auth import INFERENCE, require
from llm_server.api.forward import route
from llm_server.api.payloads import Head, Payload, usage_of
from llm_server.api.prepare import Job, max_tokens, sampling
from llm_server.api.schemas import CompletionRequest
from llm_server.api.sse import Chained, SseResponse, unless_gone
from llm_server.api.stream import Stream
from llm_server.catalog import ChatModel
from llm_server.engine.backend import Vocabulary
from llm_server.engine.sequence import Delta, Failed, Finished, TokenScore, Usage
from llm_server.errors import BadRequest
from llm_server.infill import infill_prompt

router = APIRouter(dependencies=[Depends(require(INFERENCE))])
DEFAULT_TOKENS = 16
"""OpenAI's default of max_tokens for this route."""
MAX_PROMPTS = 32
Scored = TokenScore | bytes
"""A token with its score; the first one of a prompt is its text alone."""


@router.post("/v1/completions")
async def complete(request: Request, body: CompletionRequest) -> Response:
    """Choices of every prompt in turn, n each."""
    entry = await route(request, body.model, "completions")
    if isinstance(entry, Response):
        return entry
    if body.best_of is not None and body.best_of != (body.n or 1):
        raise BadRequest(
            f"best_of {body.best_of} is not supported. Ask for n={body.best_of}, and choose yourself.",
            param="best_of",
            code="unsupported_parameter",
        )
    model = adapted(request, entry, body.wanted)
    jobs = await asyncio.to_thread(_jobs, model, body)
    if not body.stream:
        return await unless_gone(request, _whole(model, jobs, body))
    chunks = _chunks(model, jobs, body)
    # The first chunk is made here: a full queue is still an error with its own status.
    first = await anext(chunks)
    return SseResponse(Chained(first, chunks))


def _jobs(model: ChatModel, body: CompletionRequest) -> list[Job]:
    jobs = []
    model.ensure()
    for prompt in _prompts(body.prompt):
        vocabulary = model.engine.backend.vocabulary
        tokens = _tokens(vocabulary, prompt, body.suffix)
        if any(not 0 <= token < vocabulary.size for token in tokens):
            raise BadRequest(f"A token id is outside 0..{vocabulary.size - 1}.", param="prompt")
        # The engine computes one token at least; of a silent request nobody hears of it.
        wanted = DEFAULT_TOKENS if body.max_tokens is None else max(1, body.max_tokens)
        limit = max_tokens(model, tokens, wanted)
        params = sampling(model, body, None if _silent(body) else body.logprobs)
        scoring = body.logprobs if body.echo else None
        jobs.append(Job(model, tokens, params, limit, body.stops, lambda: None, scoring=scoring))
    return jobs


def _silent(body: CompletionRequest) -> bool:
    return body.max_tokens == 0


def _tokens(vocabulary: Vocabulary, prompt: str | list[int], suffix: str | None) -> list[int]:
    if suffix:
        if not isinstance(prompt, str):
            raise BadRequest("suffix needs a prompt of text, not of token ids.", param="suffix")
        return infill_prompt(vocabulary, prompt, suffix)
    return vocabulary.tokenize(prompt, special=True, bos=True) if isinstance(prompt, str) else list(prompt)


def _prompts(prompt: str | list[str] | list[int] | list[list[int]]) -> list[str | list[int]]:
    if isinstance(prompt, str):
        return [prompt]
    if prompt and isinstance(prompt[0], int):
        return [[token for token in prompt if isinstance(token, int)]]
    many = [item for item in prompt if not isinstance(item, int)]
    if not 1 <= len(many) <= MAX_PROMPTS:
        raise BadRequest(f"Between 1 and {MAX_PROMPTS} prompts, please.", param="prompt")
    return many


@dataclass(frozen=True, slots=True)
class _Read:
    """The prompt of a choice is through, with the scores of its tokens; told before anything else of it."""

    scores: list[TokenScore]


async def _events(
    model: ChatModel, jobs: list[Job], n: int, silent: bool
) -> AsyncGenerator[tuple[int, _Read | Delta | Finished], None]:
    """Events of all choices; one prompt after the other is read, all are computed together. An empty one
    comes first, when the engine has taken all of them.
    """
    async with AsyncExitStack() as stack:
        streams = [await stack.enter_async_context(Stream(model.engine, n, job.sequence)) for job in jobs]
        yield 0, Delta("")
        for number, stream in enumerate(streams):
            begun = set[int]()
            async for index, event in stream:
                if isinstance(event, Failed):
                    raise event.error
                if index not in begun:
                    begun.add(index)
                    yield number * n + index, _Read(stream.sequences[index].prompt_scores)
                if silent and isinstance(event, Finished):
                    event = Finished("length", replace(event.usage, completion=0))
                if not silent or isinstance(event, Finished):
                    yield number * n + index, event


async def _whole(model: ChatModel, jobs: list[Job], body: CompletionRequest) -> Response:
    n = body.n or 1
    texts = [_echoed(model, jobs[i // n], body) for i in range(len(jobs) * n)]
    scores: list[list[Scored]] = [[] for _ in texts]
    ends: list[Finished] = [Finished("", Usage(0, 0, 0))] * len(texts)
    async for index, event in _events(model, jobs, n, _silent(body)):
        match event:
            case _Read(read):
                scores[index] = _prompt_scores(model, jobs[index // n], read, body)
            case Delta(text, more):
                texts[index] += text
                scores[index] += more
            case Finished():
                ends[index] = event
    head = Head("cmpl", jobs[0].model.served, "text_completion", jobs[0].model.fingerprint)
    choices = [_choice(i, texts[i], scores[i], ends[i].reason, body) for i in range(len(texts))]
    return JSONResponse(head.payload(choices, _usage([end.usage for end in ends], n)))


async def _chunks(
    model: ChatModel, jobs: list[Job], body: CompletionRequest
) -> AsyncGenerator[Payload, None]:
    n = body.n or 1
    head = Head("cmpl", jobs[0].model.served, "text_completion", jobs[0].model.fingerprint)
    usages: list[Usage] = []
    later = body.echo and body.logprobs is not None
    async with aclosing(_events(model, jobs, n, _silent(body))) as events:
        await anext(events)
        for i in range(len(jobs) * n if body.echo and not later else 1):
            text = "" if later else _echoed(model, jobs[i // n], body)
            yield head.payload([_choice(i, text, [], None, body)])
        async for index, event in events:
            job = jobs[index // n]
            match event:
                case _Read(read) if later:
                    scores = _prompt_scores(model, job, read, body)
                    yield head.payload([_choice(index, _echoed(model, job, body), scores, None, body)])
                case Delta(text, more):
                    yield head.payload([_choice(index, text, list(more), None, body)])
                case Finished(reason, usage):
                    usages.append(usage)
                    yield head.payload([_choice(index, "", [], reason, body)])
    if body.include_usage:
        yield head.payload([], _usage(usages, n))


def _usage(usages: list[Usage], n: int) -> Payload:
    """Every prompt counts once."""
    total = usage_of(usages)
    prompt = sum(usage.prompt for usage in usages[::n])
    return {**total, "prompt_tokens": prompt, "total_tokens": prompt + total["completion_tokens"]}


def _echoed(model: ChatModel, job: Job, body: CompletionRequest) -> str:
    if not body.echo:
        return ""
    piece = model.engine.backend.vocabulary.piece
    return b"".join(map(piece, job.tokens)).decode("utf-8", errors="replace")


def _prompt_scores(
    model: ChatModel, job: Job, scores: list[TokenScore], body: CompletionRequest
) -> list[Scored]:
    """Of an echoed prompt: nothing comes before its first token, which has no probability."""
    if not body.echo or body.logprobs is None:
        return []
    return [model.engine.backend.vocabulary.piece(job.tokens[0]), *scores]


def _choice(
    index: int, text: str, scores: list[Scored], reason: str | None, body: CompletionRequest
) -> Payload:
    logprobs = None if body.logprobs is None or not scores else _legacy_logprobs(scores)
    return {"index": index, "text": text, "logprobs": logprobs, "finish_reason": reason}


def _legacy_logprobs(scores: list[Scored]) -> Payload:
    """The columns of the older format."""
    pieces = [score if isinstance(score, bytes) else score.piece for score in scores]
    tokens = [piece.decode("utf-8", errors="replace") for piece in pieces]
    return {
        "tokens": tokens,
        "token_logprobs": [None if isinstance(score, bytes) else score.logprob for score in scores],
        "top_logprobs": [None if isinstance(score, bytes) else _top(score) for score in scores],
        "text_offset": [0, *accumulate(map(len, tokens[:-1]))],
    }


def _top(score: TokenScore) -> dict[str, float]:
    """By text; of tokens that are parts of characters, and so look alike, the likeliest is told."""
    return {piece.decode("utf-8", errors="replace"): p for _, piece, p in reversed(score.top)}
