"""The output of a response as it grows: items, and the events that tell of them."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from llm_server.api.payloads import Payload, call_id, chat_logprobs
from llm_server.api.responses.items import identity
from llm_server.engine.sequence import TokenScore
from llm_server.tool_calls import CallArguments, CallStart, Content, Part, Reasoning

TEXT, THOUGHT, ARGUMENTS = (
    "response.output_text",
    "response.reasoning_text",
    "response.function_call_arguments",
)


class Output:
    """Items in order; one is open at a time."""

    def __init__(self, *, logprobs: bool) -> None:
        self.items: list[Payload] = []
        self._logprobs = logprobs
        self._open: Payload | None = None
        self._pending: list[Payload] = []

    def score(self, scores: Sequence[TokenScore]) -> None:
        """Log probabilities of the next text."""
        if self._logprobs:
            self._pending += chat_logprobs(scores)["content"]

    def take_scores(self, content: Iterable[Payload]) -> None:
        """The same, as the chats of another server have them."""
        if self._logprobs:
            self._pending += content

    def take(self, part: Part) -> Iterator[Payload]:
        """Events of a part; an item of another kind is closed first."""
        match part:
            case Content(text):
                yield from self._begin("message")
                yield from self._text(TEXT, text)
            case Reasoning(text):
                yield from self._begin("reasoning")
                yield from self._text(THOUGHT, text)
            case CallStart(_, name, known):
                yield from self.close()
                call = {"call_id": known or call_id(), "name": name, "arguments": ""}
                yield from self._add({"id": identity("fc"), "type": "function_call", **call})
            case CallArguments(_, text):
                yield from self._arguments(text)

    def finish(self, *, cut: bool) -> Iterator[Payload]:
        """Close what is open, as incomplete where the output was cut; an answer of nothing is a message."""
        if not self.items:
            yield from self._begin("message")
        yield from self.close("incomplete" if cut else "completed")

    def close(self, status: str = "completed") -> Iterator[Payload]:
        """Close the open item."""
        item = self._open
        if item is None:
            return
        if item["type"] == "function_call":
            yield {**self._at(f"{ARGUMENTS}.done"), "name": item["name"], "arguments": item["arguments"]}
        else:
            part = item["content"][0]
            kind = TEXT if item["type"] == "message" else THOUGHT
            scores = {"logprobs": part["logprobs"]} if kind is TEXT else {}
            yield {**self._at(f"{kind}.done", 0), "text": part["text"], **scores}
            yield {**self._at("response.content_part.done", 0), "part": part}
        item["status"] = status
        yield {"type": "response.output_item.done", "output_index": len(self.items) - 1, "item": item}
        self._open = None

    def _begin(self, kind: str) -> Iterator[Payload]:
        if self._open is not None and self._open["type"] == kind:
            return
        yield from self.close()
        if kind == "message":
            head = {"id": identity("msg"), "type": kind, "role": "assistant"}
            part: Payload = {"type": "output_text", "text": "", "annotations": [], "logprobs": []}
        else:
            head = {"id": identity("rs"), "type": kind}
            part = {"type": "reasoning_text", "text": ""}
        more: Payload = {} if kind == "message" else {"summary": []}
        yield from self._add({**head, **more, "content": []})
        self.items[-1]["content"].append(part)
        yield {**self._at("response.content_part.added", 0), "part": dict(part)}

    def _add(self, item: Payload) -> Iterator[Payload]:
        item["status"] = "in_progress"
        self.items.append(item)
        self._open = item
        shown = {**item, "content": []} if "content" in item else dict(item)
        yield {"type": "response.output_item.added", "output_index": len(self.items) - 1, "item": shown}

    def _text(self, kind: str, text: str) -> Iterator[Payload]:
        part = self.items[-1]["content"][0]
        part["text"] += text
        scores, self._pending = self._pending, []
        if kind is THOUGHT:
            yield {**self._at(f"{kind}.delta", 0), "delta": text}
            return
        part["logprobs"] += scores
        yield {**self._at(f"{kind}.delta", 0), "delta": text, "logprobs": scores}

    def _arguments(self, text: str) -> Iterator[Payload]:
        self._pending = []
        self.items[-1]["arguments"] += text
        yield {**self._at(f"{ARGUMENTS}.delta"), "delta": text}

    def _at(self, kind: str, part: int | None = None) -> Payload:
        place: dict[str, Any] = {"output_index": len(self.items) - 1, "item_id": self.items[-1]["id"]}
        return {"type": kind, **place} if part is None else {"type": kind, **place, "content_index": part}
