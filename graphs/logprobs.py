"""The log-probabilities of an answer's tokens, small enough for a span.

They come as OpenAI has them (`choices[].logprobs.content`): https://platform.openai.com/docs/api-reference/chat/object
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

MOST_TOKENS = 1000
"""Tokens that are kept; how many there were is kept too."""
MOST_OTHERS = 5
"""Alternatives of a token that are kept."""
DIGITS = 4
LONGEST = 8
"""Bytes after which a character that is still not whole never will be."""


@dataclass
class Logprobs:
    """A character that takes several tokens is one entry, whose log-probability is their sum."""

    tokens: int = 0
    content: list[dict[str, Any]] = field(default_factory=list)
    _half: bytes = b""
    _sum: float = 0.0

    def add(self, scored: Any) -> None:
        """What a completion or a chunk of one has under `logprobs`; what is no such thing is passed over."""
        entries = scored.get("content") if isinstance(scored, dict) else None
        for entry in entries if isinstance(entries, list) else ():
            if isinstance(entry, dict) and isinstance(entry.get("logprob"), int | float):
                self._take(entry)

    def _take(self, entry: dict[str, Any]) -> None:
        self.tokens += 1
        if len(self.content) >= MOST_TOKENS:
            return
        whole = not self._half
        self._half += _bytes(entry)
        self._sum += entry["logprob"]
        try:
            text = self._half.decode()
        except UnicodeDecodeError:
            if len(self._half) < LONGEST:
                return
            text = self._half.decode(errors="replace")
        kept: dict[str, Any] = {"token": text, "logprob": round(self._sum, DIGITS)}
        if whole and (others := _others(entry)):
            kept["top_logprobs"] = others
        self.content.append(kept)
        self._half, self._sum = b"", 0.0

    def plain(self) -> dict[str, Any] | None:
        """As a span's metadata has it; None where there is nothing."""
        return {"tokens": self.tokens, "content": self.content} if self.content else None


def _bytes(entry: dict[str, Any]) -> bytes:
    """The token's own; a server that gives none has it as text only."""
    raw = entry.get("bytes")
    if isinstance(raw, list) and all(isinstance(byte, int) and 0 <= byte < 256 for byte in raw):
        return bytes(raw)
    return str(entry.get("token", "")).encode(errors="replace")


def _others(entry: dict[str, Any]) -> list[dict[str, Any]]:
    found = entry.get("top_logprobs")
    listed = found if isinstance(found, list) else []
    scored = [o for o in listed if isinstance(o, dict) and isinstance(o.get("logprob"), int | float)]
    kept = scored[:MOST_OTHERS]
    return [{"token": str(o.get("token", "")), "logprob": round(o["logprob"], DIGITS)} for o in kept]
