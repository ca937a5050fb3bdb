"""A model server with a script: OpenAI's HTTP interface, answers chosen by plain functions of the request.

A real server on loopback, so that the clients under test use their real transport.
"""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from graphs.llm import MARKER

MODEL = "loopyard-starter"
ALIAS = "starter"
CHANCES = (0.5, 0.98, 0.2, 0.05)
EXTENSIONS = ["x-span", "x-sql", "grounding"]


@dataclass
class Reply:
    """What the model says: text, tool calls as (name, arguments), or an HTTP error."""

    text: str = ""
    calls: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    status: int = 200
    error: dict[str, Any] = field(default_factory=dict)
    pause: float = 0.0
    """Seconds between two words of a stream."""
    breaks: bool = False
    """Whether the connection is cut after the first word."""
    model: str = ""
    """The name that it answers by, where that is not MODEL."""


Script = Callable[[dict[str, Any]], Reply]


@dataclass
class ModelServer:
    """`script` answers; `requests` keeps the bodies, `traced_by` who traces them; `gone` is set when a client
    left in mid-answer. `adapters` are listed as MODEL:NAME; `measured` keeps whose tokenizer was measured.
    """

    script: Script
    extensions: list[str] = field(default_factory=lambda: list(EXTENSIONS))
    context: int = 4096
    requests: list[dict[str, Any]] = field(default_factory=list)
    traced_by: list[str | None] = field(default_factory=list)
    gone: asyncio.Event = field(default_factory=asyncio.Event)
    adapters: list[str] = field(default_factory=list)
    measured: list[str] = field(default_factory=list)
    url: str = ""

    def app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/v1/models", self._models),
                Route("/v1/models/{name}", self._model),
                Route("/v1/chat/completions", self._chat, methods=["POST"]),
            ]
        )

    async def _models(self, _: Request) -> Response:
        embedder = {"id": "embedder", "object": "model", "capabilities": ["embeddings"]}
        names = [f"{MODEL}:{adapter}" for adapter in self.adapters]
        adapted = [self._entry() | {"id": name, "parent": MODEL} for name in names]
        return JSONResponse({"object": "list", "data": [embedder, self._entry(), *adapted]})

    async def _model(self, request: Request) -> Response:
        if request.path_params["name"] not in (MODEL, ALIAS):
            return JSONResponse({"error": {"message": "no such model"}}, 404)
        return JSONResponse(self._entry())

    def _entry(self) -> dict[str, Any]:
        entry = {"id": MODEL, "object": "model", "created": 0, "owned_by": "loopyard"}
        return entry | {"max_model_len": self.context, "extensions": self.extensions}

    async def _chat(self, request: Request) -> Response:
        body = await request.json()
        if body.get("max_tokens") == 1:  # the client measures the tokenizer
            self.measured.append(body["model"])
            return JSONResponse(_completion(Reply("."), len(body["messages"][0]["content"]) // 4))
        self.requests.append(body)
        self.traced_by.append(request.headers.get(MARKER))
        reply = self.script(body)
        if reply.status != 200:
            return JSONResponse({"error": reply.error}, reply.status)
        if body.get("stream"):
            return StreamingResponse(self._stream(body, reply), media_type="text/event-stream")
        # Waited for in small steps, so that a client that leaves is noticed.
        for _ in range(int(reply.pause * 100)):
            if await request.is_disconnected():
                self.gone.set()
                return Response(status_code=499)
            await asyncio.sleep(0.01)
        completion = _completion(reply, _tokens(body))
        if body.get("logprobs"):
            completion["choices"][0]["logprobs"] = _scored(_words(reply.text))
        return JSONResponse(completion)

    async def _stream(self, body: dict[str, Any], reply: Reply) -> AsyncIterator[str]:
        chunk = partial(_chunk, model=reply.model)
        try:
            yield chunk({"role": "assistant", "content": ""})
            for index, (name, arguments) in enumerate(reply.calls):
                function = {"name": name, "arguments": json.dumps(arguments)}
                call = {"index": index, "id": f"call_{index}", "type": "function", "function": function}
                yield chunk({"tool_calls": [call]})
            for word in _words(reply.text):
                yield chunk({"content": word}, scored=_scored([word]) if body.get("logprobs") else None)
                if reply.breaks:
                    raise ConnectionResetError
                await asyncio.sleep(reply.pause)
            yield chunk({}, "tool_calls" if reply.calls else "stop")
            if (body.get("stream_options") or {}).get("include_usage"):
                base = _base("chat.completion.chunk", reply.model)
                yield _event({**base, "choices": [], "usage": _usage(_tokens(body), 7)})
            yield "data: [DONE]\n\n"
        except (asyncio.CancelledError, GeneratorExit):
            self.gone.set()
            raise


@asynccontextmanager
async def serving(app: Any, port: int = 0) -> AsyncIterator[str]:
    """The app on a port of loopback (0: a free one); its base address."""
    config = uvicorn.Config(app, port=port, log_level="critical", timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    task = asyncio.create_task(server.serve())
    while not server.started:
        assert not task.done(), "the server did not start"
        await asyncio.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        await task


@asynccontextmanager
async def model_server(script: Script, **options: Any) -> AsyncIterator[ModelServer]:
    server = ModelServer(script, **options)
    async with serving(server.app()) as url:
        server.url = f"{url}/v1"
        yield server


def last_user(body: dict[str, Any]) -> str:
    """The text of the latest user message."""
    return next(str(m["content"]) for m in reversed(body["messages"]) if m["role"] == "user")


def forced_tool(body: dict[str, Any]) -> str | None:
    choice = body.get("tool_choice")
    return choice["function"]["name"] if isinstance(choice, dict) else None


def _words(text: str) -> list[str]:
    return [word + " " for word in text.split(" ")[:-1]] + [text.split(" ")[-1]] if text else []


def _tokens(body: dict[str, Any]) -> int:
    return sum(len(str(message.get("content") or "")) // 4 + 4 for message in body["messages"])


def _usage(prompt: int, completion: int) -> dict[str, int]:
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
    }


def _base(kind: str, model: str = "") -> dict[str, Any]:
    return {"id": "chatcmpl-1", "object": kind, "created": 0, "model": model or MODEL}


def _completion(reply: Reply, prompt: int) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": reply.text or None}
    if reply.calls:
        message["tool_calls"] = [
            {
                "id": f"call_{name}",
                "type": "function",
                "function": {"name": name, "arguments": json.dumps(args)},
            }
            for name, args in reply.calls
        ]
    finish = "tool_calls" if reply.calls else "stop"
    choice = {"index": 0, "message": message, "finish_reason": finish, "logprobs": None}
    base = _base("chat.completion", reply.model)
    return {**base, "choices": [choice], "usage": _usage(prompt, 7)}


def _scored(words: list[str]) -> dict[str, Any]:
    """Words of which the model is more or less sure."""
    content = []
    for at, word in enumerate(words):
        logprob = math.log(CHANCES[at % len(CHANCES)])
        others = [{"token": "other", "logprob": logprob, "bytes": None}]
        entry = {"token": word, "logprob": logprob, "bytes": list(word.encode()), "top_logprobs": others}
        content.append(entry)
    return {"content": content, "refusal": None}


def _chunk(
    delta: dict[str, Any], finish: str | None = None, *, model: str, scored: dict[str, Any] | None = None
) -> str:
    choice = {"index": 0, "delta": delta, "finish_reason": finish, "logprobs": scored}
    return _event({**_base("chat.completion.chunk", model), "choices": [choice]})


def _event(body: dict[str, Any]) -> str:
    return f"data: {json.dumps(body)}\n\n"
