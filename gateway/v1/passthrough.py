"""Requests with tools of the client: the model answers, the client runs its tools.

Bytes go through as they come, so that whatever the model server knows about streaming tool calls reaches the
client; only the model's name is the agent's.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import httpx2

from gateway.sse import event
from gateway.v1.chunks import DONE
from gateway.v1.heard import Heard
from gateway.v1.schemas import ChatCompletionIn
from graphs.errors import ModelRefused, ModelUnavailable
from graphs.llm import translated
from graphs.spec import AgentSpec


class ModelAnswered(ModelRefused):
    """The model server's own error: status and body are passed on."""

    def __init__(self, status: int, body: dict[str, Any]) -> None:
        told = body.get("error", {})
        super().__init__(str(told.get("message") or body))
        self.status = status if status < 500 else 502
        self.code = str(told.get("code") or "model_error")
        self.retryable = status >= 500


def upstream_body(asked: ChatCompletionIn, spec: AgentSpec, logprobs: bool) -> dict[str, Any]:
    """The request for the model server: the client's, with the agent's persona in front and its model, where
    it names one. For the trace a stream tells its usage and, where wanted, an answer its logprobs."""
    body = asked.model_dump(exclude_unset=True)
    messages = body["messages"]
    persona = spec.persona.strip()
    if messages[0]["role"] in ("system", "developer"):
        text = asked.messages[0].text
        messages[0] = {"role": "system", "content": f"{persona}\n\n{text}"}
    else:
        messages.insert(0, {"role": "system", "content": persona})
    if asked.stream:
        body["stream_options"] = {**(body.get("stream_options") or {}), "include_usage": True}
    if logprobs:
        body.setdefault("logprobs", True)
    return {**body, "model": spec.model or ""}


class ModelServer:
    """The model server as a plain OpenAI endpoint."""

    def __init__(self, http: httpx2.AsyncClient, url: str, api_key: str, marked: dict[str, str]) -> None:
        self._http = http
        self._url = f"{url}/chat/completions"
        self._headers = {"Authorization": f"Bearer {api_key}", **marked}

    async def whole(self, body: dict[str, Any], name: str, heard: Heard) -> dict[str, Any]:
        """Raises ModelAnswered, ModelUnavailable."""
        async with translated():
            answer = await self._http.post(self._url, json=body, headers=self._headers)
        if answer.status_code != 200:
            raise _error(answer.status_code, answer.content)
        completion = answer.json()
        return {**(heard.hear(completion) or completion), "model": name}

    async def stream(self, body: dict[str, Any], name: str, heard: Heard) -> AsyncGenerator[bytes, None]:
        """Events of the stream. An error before the first is raised, a later one is told in the stream."""
        async with translated():
            request = self._http.build_request("POST", self._url, json=body, headers=self._headers)
            answer = await self._http.send(request, stream=True)
        async with aclosing(answer):
            if answer.status_code != 200:
                raise _error(answer.status_code, await answer.aread())
            try:
                async for line in answer.aiter_lines():
                    data = line.removeprefix("data:").strip()
                    if line.startswith("data:") and (told := _told(data, name, heard)):
                        yield told
            except httpx2.HTTPError as error:
                heard.error = f"The model server went away ({type(error).__name__}). Try again."
                failed = {"message": heard.error, "type": "server_error", "code": "model_unavailable"}
                yield event(None, {"error": failed})


def _told(data: str, name: str, heard: Heard) -> bytes:
    """What the client gets of an event of the model server."""
    if data == "[DONE]":
        heard.ended = True
        return DONE
    chunk = heard.hear(json.loads(data))
    return event(None, {**chunk, "model": name}) if chunk else b""


def _error(status: int, content: bytes) -> ModelAnswered | ModelUnavailable:
    try:
        body = json.loads(content)
    except ValueError:
        body = {}
    if status in (502, 503, 504) or not isinstance(body, dict):
        return ModelUnavailable(f"The model server answered {status}. Try again.")
    return ModelAnswered(status, body)
