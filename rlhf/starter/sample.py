"""One training conversation, and the coin that decides what is never trained on."""

from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

from rlhf.starter.template import Message, Tool


@dataclass(frozen=True)
class Sample:
    """A conversation; every assistant message in it is trained unless it has `"silent": True`."""

    kind: str
    messages: list[Message]
    tools: list[Tool] = field(default_factory=list)


def held_out(text: str, share: int = 10) -> bool:
    """True for one text in `share`, by its hash: the same on every machine, whatever the seed."""
    return int.from_bytes(blake2b(text.lower().encode(), digest_size=4).digest()) % share == 0


def system(text: str) -> Message:
    return {"role": "system", "content": text}


def user(text: str) -> Message:
    return {"role": "user", "content": text}


def tool(text: str) -> Message:
    return {"role": "tool", "content": text}


def says(text: str) -> Message:
    return {"role": "assistant", "content": text}


def calls(*named: tuple[str, dict[str, Any]]) -> Message:
    """An assistant message of tool calls: (name, arguments) each."""
    return {
        "role": "assistant",
        "content": "",
        "tool_calls": [{"type": "function", "function": {"name": n, "arguments": a}} for n, a in named],
    }


def silent(message: Message) -> Message:
    """The same message as context: nothing in it is trained."""
    return {**message, "silent": True}
