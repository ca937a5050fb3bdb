"""Requests with tools of the client: the model answers, the client runs its tools.

Bytes go through as they come, so that whatever the model server knows about streaming tool calls reaches the
client; only the model's name is the agent's.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

import httpx2

from gateway.sse import event
from gateway.v1.chunks import DONE
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


def upstream_body(asked: ChatCompletionIn, spec: AgentSpec, model: str) -> dict[str, Any]:
    """The request for the model server: the client's, with the agent's model and its persona in front."""
    body = asked.model_dump(exclude_unset=True)
    messages = body["messages"]
    persona = spec.persona.strip()
    if messages[0]["role"] in ("system", "developer"):
        text = asked.messages[0].text
        messages[0] = {"role": "system", "content": f"{persona}\n\n{text}"}
    else:
        messages.insert(0, {"role": "system", "content": persona})
    return {**body, "model": model}


@dataclass
class Heard:
    """What the model said, for the record."""

    text: str = ""
    called: bool = False

    def hear(self, body: dict[str, Any]) -> None:
        """A completion, or a chunk of one."""
        for choice in body.get("choices", ()):
            said = choice.get("delta") or choice.get("message") or {}
            self.text += said.get("content") or ""
            self.called = self.called or bool(said.get("tool_calls"))


class ModelServer:
    """The model server as a plain OpenAI endpoint."""

    def __init__(self, http: httpx2.AsyncClient, url: str, api_key: str) -> None:
        self._http = http
        self._url = f"{url}/chat/completions"
        self._headers = {"Authorization": f"Bearer {api_key}"}

    async def whole(self, body: dict[str, Any], name: str, heard: Heard) -> dict[str, Any]:
        """Raises ModelAnswered, ModelUnavailable."""
        async with translated():
            answer = await self._http.post(self._url, json=body, headers=self._headers)
        if answer.status_code != 200:
            raise _error(answer.status_code, answer.content)
        completion = answer.json()
        heard.hear(completion)
        return {**completion, "model": name}

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
                    if line.startswith("data:"):
                        yield _renamed(line.removeprefix("data:").strip(), name, heard)
            except httpx2.HTTPError as error:
                told = f"The model server went away ({type(error).__name__}). Try again."
                yield event(
                    None, {"error": {"message": told, "type": "server_error", "code": "model_unavailable"}}
                )


def _renamed(data: str, name: str, heard: Heard) -> bytes:
    if data == "[DONE]":
        return DONE
    chunk = json.loads(data)
    heard.hear(chunk)
    return event(None, {**chunk, "model": name})


def _error(status: int, content: bytes) -> ModelAnswered | ModelUnavailable:
    try:
        body = json.loads(content)
    except ValueError:
        body = {}
    if status in (502, 503, 504) or not isinstance(body, dict):
        return ModelUnavailable(f"The model server answered {status}. Try again.")
    return ModelAnswered(status, body)
