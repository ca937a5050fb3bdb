"""One response from a chat job: the events of its stream, of which the last one carries the whole."""

import time
from collections.abc import AsyncGenerator
from contextlib import aclosing

from llm_server.api.payloads import Payload
from llm_server.api.prepare import Job
from llm_server.api.responses.items import identity
from llm_server.api.responses.output import Output
from llm_server.api.responses.schemas import ResponseRequest
from llm_server.api.stream import Stream
from llm_server.engine.sequence import Delta, Failed, Finished, Usage
from llm_server.errors import LlmServerError

ENDS = {"response.completed", "response.incomplete", "response.failed"}


def blank(body: ResponseRequest, model: str, temperature: float | None, top_p: float | None) -> Payload:
    """The response object before anything has come out."""
    reasoning = body.reasoning or {}
    return {
        "id": identity("resp"),
        "object": "response",
        "created_at": int(time.time()),
        "completed_at": None,
        "status": "in_progress",
        "background": False,
        "error": None,
        "incomplete_details": None,
        "instructions": body.instructions,
        "max_output_tokens": body.max_output_tokens,
        "metadata": body.metadata or {},
        "model": model,
        "output": [],
        "parallel_tool_calls": body.parallel_tool_calls is not False,
        "previous_response_id": body.previous_response_id,
        "reasoning": {"effort": reasoning.get("effort"), "summary": reasoning.get("summary")},
        "service_tier": "default",
        "store": body.store is not False,
        "temperature": temperature,
        "text": body.text.model_dump(by_alias=True, exclude_none=True),
        "tool_choice": body.tool_choice,
        "tools": [{"strict": None, "parameters": None, **tool} for tool in body.tools],
        "top_logprobs": body.top_logprobs or 0,
        "top_p": top_p,
        "truncation": body.truncation or "disabled",
        "usage": None,
        "user": body.user,
    }


async def respond(job: Job, response: Payload, *, logprobs: bool) -> AsyncGenerator[Payload, None]:
    """Events without their numbers. Errors of the engine rise; one is known before the first event."""
    output, reader = Output(logprobs=logprobs), job.reader()
    response["output"] = output.items
    async with Stream(job.model.engine, 1, job.sequence) as stream:
        yield told(response, "created")
        yield told(response, "in_progress")
        async for _, event in stream:
            match event:
                case Delta(text, scores):
                    output.score(scores)
                    for part in reader.feed(text):
                        for payload in output.take(part):
                            yield payload
                case Finished(reason, usage):
                    for part in reader.flush():
                        for payload in output.take(part):
                            yield payload
                    for payload in output.finish(cut=reason == "length"):
                        yield payload
                    yield finished(response, reason, _usage(job, output, usage))
                case Failed(error):
                    raise error


async def numbered(events: AsyncGenerator[Payload, None], response: Payload) -> AsyncGenerator[Payload, None]:
    """Events after the first one, with their numbers; an error is an event too, `response.failed`."""
    number = 1
    try:
        async with aclosing(events):
            async for event in events:
                yield {**event, "sequence_number": number}
                number += 1
    except LlmServerError as error:
        response["status"] = "failed"
        response["error"] = {"code": error.code or "server_error", "message": error.message}
        yield {**told(response, "failed"), "sequence_number": number}


def told(response: Payload, name: str) -> Payload:
    """An event that carries the response as it is now; the generator goes on changing the original."""
    output = [dict(item) for item in response["output"]]
    return {"type": f"response.{name}", "response": {**response, "output": output}}


def finished(response: Payload, reason: str, usage: Payload | None) -> Payload:
    """The last event: `length` is an incomplete response, any other reason a completed one."""
    cut = reason == "length"
    response["status"] = "incomplete" if cut else "completed"
    response["incomplete_details"] = {"reason": "max_output_tokens"} if cut else None
    response["completed_at"] = int(time.time())
    response["usage"] = usage
    return told(response, response["status"])


def _usage(job: Job, output: Output, usage: Usage) -> Payload:
    """Thoughts are counted as their text is tokenised again."""
    thoughts = [item["content"][0]["text"] for item in output.items if item["type"] == "reasoning"]
    vocabulary = job.model.engine.backend.vocabulary
    return {
        "input_tokens": usage.prompt,
        "input_tokens_details": {"cached_tokens": usage.cached, "cache_write_tokens": 0},
        "output_tokens": usage.completion,
        "output_tokens_details": {
            "reasoning_tokens": sum(len(vocabulary.tokenize(text)) for text in thoughts)
        },
        "total_tokens": usage.prompt + usage.completion,
    }
