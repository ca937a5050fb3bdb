"""What fits into the model's context, and what is said when something does not.

The shares are those of a context of 4,096: persona and tools 500, schema 900, passages 5 x 260, history 800,
answer 400, the rest slack. A larger context scales them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from langchain_core.messages import BaseMessage

from graphs.errors import PromptTooLong

MESSAGE_TOKENS = 5
"""Role and marks around a message in ChatML."""
SHARES = {"schema": 900 / 4096, "passages": 1300 / 4096, "history": 800 / 4096, "tables": 700 / 4096}
PASSAGES_OF_ROOM = 0.65
"""The rest is for a table, so that an answer from both sides fits."""
TOOL_TOKENS = 60
"""One line of the tool listing, with its description."""
MARK = "... (more rows)"
SENTENCE = re.compile(r"(?<=[.!?])\s|\n")
LINE = re.compile(r"\n")


@dataclass(frozen=True, slots=True)
class Budget:
    """Token budget of one prompt. `context` counts prompt and answer together."""

    context: int
    answer: int
    characters_per_token: float = 3.0
    room: int = 0
    """Tokens that persona, schema, history and question leave for results; more than the fixed shares give
    where the rest of the prompt is short."""

    def share(self, part: str) -> int:
        return int(self.context * SHARES[part])

    def tokens(self, text: str) -> int:
        """An estimate: the room has no tokenizer, only the model's measured characters a token."""
        return int(len(text) / self.characters_per_token) + 1

    def message_tokens(self, message: BaseMessage) -> int:
        calls = getattr(message, "tool_calls", None) or ()
        called = sum(self.tokens(str(call["args"])) + 15 for call in calls)
        return MESSAGE_TOKENS + self.tokens(message.text) + called

    def fits_schema(self, text: str) -> bool:
        return self.tokens(text) <= self.share("schema")

    def history(self, messages: Sequence[BaseMessage]) -> list[BaseMessage]:
        """The latest messages that fit; a turn is kept or left out as a whole."""
        left, kept = self.share("history"), list[BaseMessage]()
        for turn in reversed(_turns(messages)):
            left -= sum(self.message_tokens(message) for message in turn)
            if left < 0:
                break
            kept[:0] = turn
        return kept

    def passages(self, text: str) -> str:
        """rag_search's text, each passage cut to its share, at the end of a sentence where it can be."""
        tokens = max(self.share("passages"), int(self.room * PASSAGES_OF_ROOM))
        if self.tokens(text) <= tokens:
            return text
        parts = re.split(r"\n\n(?=\[\d+\] )", text)
        each = max(60, int(tokens * self.characters_per_token / len(parts)))
        # Without a mark: what stands in a passage may be quoted, and the reader is told elsewhere.
        return "\n\n".join(cut(part, each, SENTENCE) for part in parts)

    def result(self, text: str) -> str:
        """Any other tool's text, cut at the end of a line."""
        tokens = max(self.share("tables"), int(self.room * (1 - PASSAGES_OF_ROOM)))
        characters = int(tokens * self.characters_per_token)
        return text if len(text) <= characters else f"{cut(text, characters, LINE)}\n{MARK}"

    def with_room(self, texts: Sequence[str], history: Sequence[BaseMessage], tools: int) -> Budget:
        """The same budget, knowing what the rest of the prompt takes."""
        used = sum(map(self.tokens, texts)) + sum(map(self.message_tokens, history)) + tools * TOOL_TOKENS
        return replace(self, room=max(0, self.context - self.answer - used - MESSAGE_TOKENS * 8))

    def check(self, messages: Sequence[BaseMessage], tools: int) -> None:
        """Raises PromptTooLong when what cannot be cut (persona, tools, question) does not fit.

        `tools` are the tokens of the tool listing.
        """
        needed = sum(map(self.message_tokens, messages)) + tools
        if needed + self.answer > self.context:
            raise PromptTooLong(
                f"The prompt needs about {needed} tokens and the answer {self.answer}, the model's context "
                f"holds {self.context}. Shorten the question."
            )


def cut(text: str, characters: int, at: re.Pattern[str]) -> str:
    """The text up to the last `at` within `characters`; up to the last word where there is none."""
    if len(text) <= characters:
        return text
    ends = [match.start() for match in at.finditer(text, 0, characters) if match.start() > characters // 3]
    return text[: ends[-1]] if ends else text[:characters].rsplit(" ", 1)[0]


def _turns(messages: Sequence[BaseMessage]) -> list[list[BaseMessage]]:
    turns: list[list[BaseMessage]] = []
    for message in messages:
        if message.type == "human" or not turns:
            turns.append([])
        turns[-1].append(message)
    return turns
