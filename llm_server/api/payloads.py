"""OpenAI's response bodies."""

import time
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from llm_server.engine.sequence import TokenScore, Usage
from llm_server.tool_calls import CallArguments, CallStart, Content, Part, Reasoning

Payload = dict[str, Any]


def usage_of(usages: Sequence[Usage]) -> Payload:
    """`usage` of a request: its prompt counts once, however many choices it has."""
    prompt = usages[0].prompt if usages else 0
    completion = sum(usage.completion for usage in usages)
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": usages[0].cached if usages else 0},
    }


def call_id() -> str:
    """A fresh tool call id."""
    return f"call_{uuid.uuid4().hex[:24]}"


def chat_logprobs(scores: Iterable[TokenScore]) -> Payload:
    """`logprobs` of a chat choice."""
    return {
        "content": [{**_scored(s.piece, s.logprob), "top_logprobs": _top(s)} for s in scores],
        "refusal": None,
    }


def _top(score: TokenScore) -> list[Payload]:
    return [_scored(piece, logprob) for _, piece, logprob in score.top]


def _scored(piece: bytes, logprob: float) -> Payload:
    return {"token": piece.decode("utf-8", errors="replace"), "logprob": logprob, "bytes": list(piece)}


@dataclass(slots=True)
class Head:
    """What all payloads of one answer have in common."""

    kind: str
    """Prefix of the id: chatcmpl or cmpl."""
    model: str
    object: str
    fingerprint: str = ""
    id: str = ""
    created: int = field(default_factory=lambda: int(time.time()))

    def __post_init__(self) -> None:
        self.id = f"{self.kind}-{uuid.uuid4().hex}"

    def payload(self, choices: list[Payload], usage: Payload | None = None, **more: Any) -> Payload:
        """A whole answer or a chunk."""
        body: Payload = {
            "id": self.id,
            "object": self.object,
            "created": self.created,
            "model": self.model,
            "system_fingerprint": self.fingerprint,
            "choices": choices,
            **more,
        }
        return body if usage is None else {**body, "usage": usage}


@dataclass(slots=True)
class Answer:
    """One chat choice as it grows; makes the whole message and the deltas of a stream."""

    index: int
    content: str = ""
    reasoning: str = ""
    calls: list[Payload] = field(default_factory=list)
    scores: list[TokenScore] = field(default_factory=list)
    reason: str | None = None
    usage: Usage | None = None

    def add(self, part: Part) -> Payload:
        """Take a part in; its delta."""
        match part:
            case Content(text):
                self.content += text
                return {"content": text}
            case Reasoning(text):
                self.reasoning += text
                return {"reasoning_content": text}
            case CallStart(index, name, _):
                head = {"id": call_id(), "type": "function"}
                self.calls.append({**head, "function": {"name": name, "arguments": ""}})
                return {"tool_calls": [{"index": index, **head, "function": {"name": name, "arguments": ""}}]}
            case CallArguments(index, text):
                self.calls[index]["function"]["arguments"] += text
                return {"tool_calls": [{"index": index, "function": {"arguments": text}}]}

    def finish(self, reason: str, usage: Usage) -> None:
        """The sequence is through."""
        self.usage = usage
        self.reason = "tool_calls" if self.calls and reason in {"stop", "tool_calls"} else reason

    def choice(self, logprobs: bool) -> Payload:
        """The whole choice."""
        message: Payload = {"role": "assistant", "content": self.content or (None if self.calls else "")}
        if self.reasoning:
            message["reasoning_content"] = self.reasoning
        if self.calls:
            message["tool_calls"] = self.calls
        return {
            "index": self.index,
            "message": message,
            "logprobs": chat_logprobs(self.scores) if logprobs else None,
            "finish_reason": self.reason,
        }

    def chunk(self, delta: Payload, scores: Sequence[TokenScore] = (), reason: str | None = None) -> Payload:
        """A choice of a stream's chunk."""
        return {
            "index": self.index,
            "delta": delta,
            "logprobs": chat_logprobs(scores) if scores else None,
            "finish_reason": reason,
        }
