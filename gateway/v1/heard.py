"""What a model said to a request that is passed through, put together from its completion or its chunks."""

from __future__ import annotations

import time
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

from graphs.logprobs import Logprobs

Json = dict[str, Any]


@dataclass
class Heard:
    """`model` is as the server named it; `first` the time of the first word or call in a stream, in
    nanoseconds since 1970; `error` what the server said instead of going on."""

    text: str = ""
    reasoning: str = ""
    calls: dict[int, Json] = field(default_factory=dict)
    model: str = ""
    usage: Json = field(default_factory=dict)
    first: int | None = None
    error: str = ""
    ended: bool = False
    """The model has said all of it; who leaves now has missed nothing."""
    logprobs: Logprobs = field(default_factory=Logprobs)
    hides: Collection[str] = ()
    """What the client did not ask for and does not hear of: `usage` (of a stream), `logprobs`."""

    def hear(self, body: Json) -> Json | None:
        """A completion, or a chunk of one; what the client gets of it, None where that is nothing."""
        self.model = body.get("model") or self.model
        self.usage = body.get("usage") or self.usage
        if error := body.get("error"):
            self.error = str(error.get("message") or error) if isinstance(error, dict) else str(error)
        for choice in body.get("choices") or ():
            self.ended = self.ended or bool(choice.get("finish_reason"))
            delta = choice.get("delta")
            self._say(delta or choice.get("message") or {}, streamed=bool(delta))
            self.logprobs.add(choice.get("logprobs"))
            if "logprobs" in self.hides and choice.get("logprobs"):
                choice["logprobs"] = None
        is_usage = body.get("usage") and not body.get("choices")
        return None if is_usage and "usage" in self.hides else body

    def _say(self, said: Json, *, streamed: bool) -> None:
        text, reasoning, calls = said.get("content"), said.get("reasoning_content"), said.get("tool_calls")
        if streamed and (text or reasoning or calls):
            self.first = self.first or time.time_ns()
        self.text += text or ""
        self.reasoning += reasoning or ""
        for at, part in enumerate(calls or ()):
            self._call(part.get("index", at), part)

    def _call(self, index: int, part: Json) -> None:
        """A tool call, or a part of one: the name comes once and the arguments in pieces."""
        call = self.calls.setdefault(
            index, {"id": "", "type": "function", "function": {"name": "", "arguments": ""}}
        )
        call["id"] = part.get("id") or call["id"]
        function = part.get("function") or {}
        call["function"]["name"] = function.get("name") or call["function"]["name"]
        call["function"]["arguments"] += function.get("arguments") or ""

    @property
    def message(self) -> Json:
        """The assistant's message as OpenAI has it."""
        said: Json = {"role": "assistant", "content": self.text or None}
        if self.reasoning:
            said["reasoning_content"] = self.reasoning
        if self.calls:
            said["tool_calls"] = list(self.calls.values())
        return said
