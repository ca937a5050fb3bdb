"""What an answer says, whole or put together again from the events of its stream."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from llm_server.tracing.record import Record

Payload = dict[str, Any]
_MODEL, _READ = re.compile(rb'"model": ?"([^"\\]{1,200})"'), re.compile(rb'"prompt_tokens": ?(\d{1,12})')


@dataclass(slots=True)
class Answer:
    """One answer as a trace shows it."""

    output: Any = None
    model: str | None = None
    """The exact version that answered."""
    tokens: tuple[int, int] | None = None
    """Of prompt and completion, where the answer tells them."""
    reason: str | None = None
    error: str | None = None


def answer_of(record: Record) -> Answer:
    """Every route's answer in one shape; the text itself where it is none of ours."""
    body = record.answered.read()
    if record.path == "/v1/embeddings":
        return _embeddings(record, body)
    payloads = list(_events(body)) if body.startswith((b"data:", b"event:")) else _whole(body)
    if not payloads:
        return Answer(output=body.decode("utf-8", errors="replace") or None)
    answer = Answer()
    for payload in payloads:
        _take_head(answer, payload)
    if record.path == "/v1/responses":
        _response(answer, payloads)
    elif record.path.endswith("/infill"):
        answer.output = "".join(str(one.get("content") or "") for one in payloads) or None
    else:
        _choices(answer, payloads)
    return answer


def _embeddings(record: Record, body: bytes) -> Answer:
    """Of an answer of numbers its end alone is kept, where the model and the tokens stand."""
    error = _whole(body)
    if error:
        answer = Answer()
        _take_head(answer, error[0])
        return answer
    model, read = _MODEL.findall(body), _READ.findall(body)
    return Answer(model=model[-1].decode() if model else None, tokens=(int(read[-1]), 0) if read else None)


def _whole(body: bytes) -> list[Payload]:
    try:
        found = json.loads(body)
    except ValueError:
        return []
    return [found] if isinstance(found, dict) else []


def _events(body: bytes) -> Iterator[Payload]:
    for line in body.splitlines():
        if line.startswith(b"data:"):
            yield from _whole(line.removeprefix(b"data:").strip())


def _take_head(answer: Answer, payload: Payload) -> None:
    """Model, usage and error, wherever an event carries them."""
    inner = payload.get("response") if isinstance(payload.get("response"), dict) else payload
    assert isinstance(inner, dict)
    if isinstance(inner.get("model"), str):
        answer.model = inner["model"]
    if isinstance(error := inner.get("error"), dict):
        answer.error = str(error.get("message") or error)
    usage = inner.get("usage")
    if isinstance(usage, dict):
        given = usage.get("prompt_tokens", usage.get("input_tokens"))
        written = usage.get("completion_tokens", usage.get("output_tokens", 0))
        if isinstance(given, int) and isinstance(written, int):
            answer.tokens = given, written


def _response(answer: Answer, payloads: list[Payload]) -> None:
    """The last event carries the whole; a stream that was left has what its finished items say."""
    last = payloads[-1].get("response", payloads[-1])
    items = [one["item"] for one in payloads if one.get("type") == "response.output_item.done"]
    answer.output = last.get("output") or items or None
    answer.reason = last.get("status")


def _choices(answer: Answer, payloads: list[Payload]) -> None:
    """Messages or texts by choice; one choice stands for itself."""
    outputs: dict[int, Any] = {}
    for payload in payloads:
        for choice in payload.get("choices") or ():
            index = choice.get("index", 0)
            answer.reason = choice.get("finish_reason") or answer.reason
            if "text" in choice:
                outputs[index] = outputs.get(index, "") + (choice["text"] or "")
            else:
                message = outputs.setdefault(index, {"role": "assistant", "content": ""})
                _add(message, choice.get("message") or choice.get("delta") or {})
    found = [outputs[index] for index in sorted(outputs)]
    answer.output = found[0] if len(found) == 1 else found or None


def _add(message: Payload, delta: Payload) -> None:
    """A whole message or a piece of one."""
    message["content"] += delta.get("content") or ""
    if thought := delta.get("reasoning_content"):
        message["reasoning_content"] = message.get("reasoning_content", "") + thought
    for place, call in enumerate(delta.get("tool_calls") or ()):
        calls = message.setdefault("tool_calls", [])
        at = call.get("index", place)
        while len(calls) <= at:
            calls.append({"id": None, "type": "function", "function": {"name": "", "arguments": ""}})
        calls[at]["id"] = call.get("id") or calls[at]["id"]
        function = call.get("function") or {}
        for name in ("name", "arguments"):
            calls[at]["function"][name] += function.get(name) or ""
