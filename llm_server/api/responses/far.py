"""Responses over the chat completions of another server, which need not know /v1/responses."""

import json
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing

import httpx

from llm_server.api.payloads import Payload
from llm_server.api.responses.output import Output
from llm_server.api.responses.respond import finished, told
from llm_server.api.responses.schemas import ResponseRequest
from llm_server.api.schemas import ChatRequest
from llm_server.errors import UpstreamFailed
from llm_server.tool_calls import CallArguments, CallStart, Content, Part, Reasoning

WITH_TOOLS = ("tools", "tool_choice", "parallel_tool_calls")
"""Fields that OpenAI refuses where there are no tools."""


def far_request(body: ResponseRequest, chat: ChatRequest) -> Payload:
    """The chat request in the words that OpenAI-compatible servers have in common, as a stream with usage."""
    sent = chat.model_dump(exclude_none=True, by_alias=True)
    sent |= {"stream": True, "stream_options": {"include_usage": True}}
    sent["messages"] = [_message(message) for message in sent["messages"]]
    if not sent.get("tools"):
        sent = {name: value for name, value in sent.items() if name not in WITH_TOOLS}
    for tool, given in zip(sent.get("tools", ()), body.tools, strict=False):
        if given.get("strict") is not None:
            tool["function"]["strict"] = given["strict"]
    if isinstance(sent.get("tool_choice"), dict):
        sent["tool_choice"] = _choice(sent["tool_choice"])
    without = {"response_format"} if body.logprobs else {"response_format", "logprobs"}
    sent = {name: value for name, value in sent.items() if name not in without}
    wanted = body.text.format
    if wanted.type != "text":
        sent["response_format"] = {"type": wanted.type}
    if wanted.type == "json_schema":
        strict = (wanted.model_extra or {}).get("strict")
        schema = {"name": wanted.name or "answer", "schema": wanted.schema_, "strict": strict}
        sent["response_format"]["json_schema"] = {k: v for k, v in schema.items() if v is not None}
    if body.user:
        sent["user"] = body.user
    return sent


async def respond_far(
    answer: httpx.Response, response: Payload, *, logprobs: bool
) -> AsyncGenerator[Payload, None]:
    """Events without their numbers, as `respond` has them. UpstreamFailed, known before the first event where
    the server says nothing.
    """
    output, calls = Output(logprobs=logprobs), _Calls()
    response["output"] = output.items
    begun, reason, usage = False, "", None
    async with aclosing(_chunks(answer)) as chunks:
        async for chunk in chunks:
            if not begun:
                begun, response["model"] = True, chunk.get("model") or response["model"]
                yield told(response, "created")
                yield told(response, "in_progress")
            usage = chunk.get("usage") or usage
            for choice in chunk.get("choices") or ():
                reason = choice.get("finish_reason") or reason
                output.take_scores(((choice.get("logprobs") or {}).get("content")) or ())
                for part in calls.read(choice.get("delta") or choice.get("message") or {}):
                    for payload in output.take(part):
                        yield payload
    if not reason:
        raise UpstreamFailed("The server broke off before its answer was through.")
    for payload in output.finish(cut=reason == "length"):
        yield payload
    yield finished(response, reason, _usage(usage))


class _Calls:
    """Reads deltas. A call begins with a new index, or with a new id: some servers number none."""

    def __init__(self) -> None:
        self._at: tuple[int, str] | None = None

    def read(self, delta: Payload) -> Iterator[Part]:
        """The parts of a delta, or of a whole message."""
        if thought := delta.get("reasoning_content") or delta.get("reasoning"):
            yield Reasoning(str(thought))
        if text := delta.get("content") or delta.get("refusal"):
            yield Content(str(text))
        for place, call in enumerate(delta.get("tool_calls") or ()):
            function = call.get("function") or {}
            index, known = call.get("index", place), call.get("id") or ""
            if self._at is None or index != self._at[0] or (known and known != self._at[1]):
                self._at = index, known
                yield CallStart(index, str(function.get("name") or ""), known)
            if arguments := function.get("arguments"):
                yield CallArguments(index, str(arguments))


async def _chunks(answer: httpx.Response) -> AsyncGenerator[Payload, None]:
    """Events of a stream; a whole answer, of a server that does not stream, is one."""
    try:
        if answer.headers.get("content-type", "").startswith("text/event-stream"):
            async for line in answer.aiter_lines():
                data = line.removeprefix("data:").strip()
                if line.startswith("data:") and data != "[DONE]":
                    yield _chunk(data)
        else:
            yield _chunk(await answer.aread())
    except httpx.TransportError as error:
        raise UpstreamFailed(f"The server broke off: {type(error).__name__}.") from error
    finally:
        await answer.aclose()


def _chunk(data: str | bytes) -> Payload:
    try:
        found = json.loads(data)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise UpstreamFailed("The server's answer is no JSON.")
    if isinstance(found.get("error"), dict):
        raise UpstreamFailed(f"The server: {found['error'].get('message')}")
    return found


def _message(message: Payload) -> Payload:
    """Without what only this server reads; `developer` and pictures under their older names."""
    out = {name: value for name, value in message.items() if name != "reasoning_content"}
    if out["role"] == "developer":
        out["role"] = "system"
    parts = out.get("content")
    if isinstance(parts, list):
        plain = all(part.get("type") == "text" for part in parts)
        out["content"] = "".join(map(_text, parts)) if plain else [_part(part) for part in parts]
    return out


def _text(part: Payload) -> str:
    return str(part.get("text") or "")


def _part(part: Payload) -> Payload:
    if part.get("type") != "input_image":
        return part
    shown = {"url": part.get("image_url"), "detail": part.get("detail")}
    return {"type": "image_url", "image_url": {k: v for k, v in shown.items() if v is not None}}


def _choice(choice: Payload) -> Payload:
    """A named function, or a list of them, as chats have it."""
    if choice.get("type") == "function" and "name" in choice:
        return {"type": "function", "function": {"name": choice["name"]}}
    if choice.get("type") == "allowed_tools" and "allowed_tools" not in choice:
        tools = [_choice(tool) for tool in choice.get("tools", ())]
        return {
            "type": "allowed_tools",
            "allowed_tools": {"mode": choice.get("mode", "auto"), "tools": tools},
        }
    return choice


def _usage(usage: Payload | None) -> Payload | None:
    """Under the names of this route; None where the server counts nothing."""
    if not usage:
        return None
    read, written = usage.get("prompt_tokens") or 0, usage.get("completion_tokens") or 0
    cached = (usage.get("prompt_tokens_details") or {}).get("cached_tokens") or 0
    thought = (usage.get("completion_tokens_details") or {}).get("reasoning_tokens") or 0
    return {
        "input_tokens": read,
        "input_tokens_details": {"cached_tokens": cached, "cache_write_tokens": 0},
        "output_tokens": written,
        "output_tokens_details": {"reasoning_tokens": thought},
        "total_tokens": read + written,
    }
