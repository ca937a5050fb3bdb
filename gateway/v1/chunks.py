"""A run as chunks of OpenAI's stream, or as one completion.

Tool activity rides on chunks with an empty delta, in a field of its own (`loopyard`) that clients ignore.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

from gateway.chat.run import ChatRun, Sent
from gateway.errors import GatewayError
from gateway.sse import event
from gateway.v1.wording import footer

ACTIVITY = {"start", "route", "tool_call", "tool_result", "notice", "sources"}
DONE = b"data: [DONE]\n\n"


class RunFailed(GatewayError):
    """The run ended in an error that was stored already; carries its status to the answer."""

    def __init__(self, data: dict[str, Any]) -> None:
        super().__init__(data["message"], code=data["code"])
        self.retryable = bool(data["retryable"])
        self.status = int(data.get("status", 502))


@dataclass
class Completion:
    """One run on its way to an OpenAI client. `model` is the name that the client used."""

    model: str
    run: ChatRun
    with_usage: bool = False
    created: int = field(default_factory=lambda: int(time.time()))
    _sources: list[dict[str, Any]] = field(default_factory=list)

    async def stream(self) -> AsyncGenerator[bytes, None]:
        yield self._chunk({"role": "assistant", "content": ""})
        async with aclosing(self.run.events()) as events:
            async for sent in events:
                for chunk in self._chunks(sent):
                    yield chunk
        yield DONE

    def _chunks(self, sent: Sent) -> list[bytes]:
        if sent.name == "token":
            return [self._chunk({"content": sent.data["text"]})]
        if sent.name == "error":
            return [event(None, {"error": _openai_error(sent.data)})]
        if sent.name == "done":
            return self._last(sent.data)
        if sent.name == "sources":
            self._sources = sent.data["items"]
        return [self._chunk({}, loopyard={"event": sent.name, "data": sent.data})]

    def _last(self, done: dict[str, Any]) -> list[bytes]:
        text = footer(self._sources)
        chunks = [self._chunk({"content": text})] if text else []
        chunks.append(self._chunk({}, finish="stop"))
        if self.with_usage:
            chunks.append(
                event(None, {**self._base("chat.completion.chunk"), "choices": [], "usage": done["usage"]})
            )
        return chunks

    def _chunk(
        self, delta: dict[str, Any], finish: str | None = None, loopyard: dict[str, Any] | None = None
    ) -> bytes:
        choice = {"index": 0, "delta": delta, "finish_reason": finish, "logprobs": None}
        body = {**self._base("chat.completion.chunk"), "choices": [choice]}
        return event(None, {**body, "loopyard": loopyard} if loopyard else body)

    async def whole(self) -> dict[str, Any]:
        """The completion in one piece. Raises RunFailed."""
        steps: list[dict[str, Any]] = []
        async with aclosing(self.run.events()) as events:
            async for sent in events:
                if sent.name == "error":
                    raise RunFailed(sent.data)
                if sent.name == "sources":
                    self._sources = sent.data["items"]
                if sent.name in ACTIVITY:
                    steps.append({"event": sent.name, "data": sent.data})
                if sent.name == "done":
                    return self._completion(sent.data, steps)
        raise RunFailed(
            {"message": "The run ended without an answer.", "code": "no_answer", "retryable": True}
        )

    def _completion(self, done: dict[str, Any], steps: list[dict[str, Any]]) -> dict[str, Any]:
        message = {"role": "assistant", "content": done["answer"] + footer(self._sources), "refusal": None}
        choice = {"index": 0, "message": message, "finish_reason": "stop", "logprobs": None}
        activity = {"steps": steps, "sources": self._sources, "timings": done["timings"]}
        activity["model"] = done["model"]  # who wrote it; `model` of the completion is the agent
        base = self._base("chat.completion")
        return {**base, "choices": [choice], "usage": done["usage"], "loopyard": activity}

    def _base(self, kind: str) -> dict[str, Any]:
        return {
            "id": f"chatcmpl-{self.run.turn.answer_id}",
            "object": kind,
            "created": self.created,
            "model": self.model,
        }


def _openai_error(data: dict[str, Any]) -> dict[str, Any]:
    return {"message": data["message"], "type": "server_error", "param": None, "code": data["code"]}
