"""Tool calls of the Hermes form, `<tool_call>\\n{"name": ..., "arguments": ...}\\n</tool_call>`: steering
and reading.

The model decides whether it calls. Once it has begun to, a grammar holds it to a declared tool.
"""

import re
from dataclasses import dataclass
from enum import Enum, auto

from llm_server.constraints.sql import Stage
from llm_server.constraints.tools import CallGrammar
from llm_server.engine.backend import Vocabulary
from llm_server.engine.grammar import Directive, Grammar

OPEN, CLOSE = "<tool_call>", "</tool_call>"
THINK, THOUGHT = "<think>", "</think>"
MAX_CALLS = 8


@dataclass(frozen=True, slots=True)
class Marks:
    """Tokens of the marks; None or several tokens where the vocabulary has no single one."""

    open: int | None
    open_tokens: tuple[int, ...]
    close_tokens: tuple[int, ...]
    thoughts: frozenset[int] = frozenset()
    """Single tokens of the marks around a thought."""

    @classmethod
    def of(cls, vocabulary: Vocabulary) -> "Marks":
        """How this vocabulary writes them."""
        opening = tuple(vocabulary.tokenize(OPEN, special=True))
        closing = tuple(vocabulary.tokenize(CLOSE, special=True))
        around = [vocabulary.tokenize(mark, special=True) for mark in (THINK, THOUGHT)]
        thoughts = frozenset(mark[0] for mark in around if len(mark) == 1)
        return cls(opening[0] if len(opening) == 1 else None, opening, closing, thoughts)

    @property
    def visible(self) -> frozenset[int]:
        """Tokens whose text the reader of the stream needs."""
        return frozenset(self.open_tokens + self.close_tokens)

    @property
    def exempt(self) -> frozenset[int]:
        """The opening token, which no grammar of the text before it may forbid."""
        return frozenset(() if self.open is None else (self.open,))


class ToolGuide:
    """Free text until `<tool_call>`, then a declared call, then more calls or the end."""

    def __init__(
        self,
        marks: Marks,
        calls: CallGrammar,
        *,
        forced: bool = False,
        parallel: bool = True,
        text: Grammar | None = None,
    ) -> None:
        self._marks, self._calls, self._text = marks, calls, text
        self._forced, self._parallel = forced, parallel
        self._tail = ""
        self._inside = False
        self._stage = Stage()
        self._count = 0

    def begin(self) -> Directive:
        """Free text, or straight into the call."""
        if self._forced:
            return self._enter("", self._marks.open_tokens)
        return Directive(grammar=self._text, exempt=self._marks.exempt)

    def after(self, text: str, token: int, complete: bool) -> Directive | None:
        """Watch for the mark, for the next stage of a statement, and for the end of the call."""
        self._tail += text
        if self._inside:
            return self._leave() if complete else self._refine()
        at = self._tail.rfind(OPEN)
        if at < 0:
            self._tail = self._tail[-len(OPEN) :]
            return None
        return self._enter(self._tail[at + len(OPEN) :])

    def _enter(self, written: str, force: tuple[int, ...] = ()) -> Directive:
        """The call begins; a vocabulary without the mark may have written its newline already."""
        self._tail, self._inside, self._stage = written, True, Stage()
        grammar = self._calls.whole
        return Directive(grammar=_without_newline(grammar) if "\n" in written else grammar, force=force)

    def _refine(self) -> Directive | None:
        refined = self._calls.refine(self._tail, self._stage)
        if refined is None:
            return None
        grammar, self._stage = refined
        return Directive(grammar=grammar, replay=True)

    def _leave(self) -> Directive:
        """The call is complete: another one may follow, or the end."""
        self._inside, self._tail = False, ""
        self._count += 1
        last = not self._parallel or self._count >= MAX_CALLS
        following = Grammar(f'root ::= "\\n"? ("{OPEN}")?\n')
        return Directive(
            grammar=following,
            exempt=self._marks.exempt,
            force=self._marks.close_tokens,
            finish="tool_calls" if last else None,
        )


def _without_newline(grammar: Grammar) -> Grammar:
    """The call's grammar where its first newline is there already."""
    return Grammar(grammar.gbnf.replace('root ::= "\\n" ', "root ::= ", 1), grammar.example.lstrip("\n"))


@dataclass(frozen=True, slots=True)
class Content:
    """Text for the user."""

    text: str


@dataclass(frozen=True, slots=True)
class Reasoning:
    """Text between `<think>` and `</think>`."""

    text: str


@dataclass(frozen=True, slots=True)
class CallStart:
    """A call begins; its name is known."""

    index: int
    name: str
    id: str = ""
    """Where another server has named it already."""


@dataclass(frozen=True, slots=True)
class CallArguments:
    """A piece of a call's arguments."""

    index: int
    text: str


Part = Content | Reasoning | CallStart | CallArguments


class _State(Enum):
    TEXT = auto()
    THINKING = auto()
    HEAD = auto()
    ARGUMENTS = auto()
    TAIL = auto()


_HEAD = re.compile(r'\s*\{\s*"name"\s*:\s*"((?:[^"\\]|\\.)*)"\s*,\s*"arguments"\s*:\s*(?=\S)')


class OutputReader:
    """Splits a model's text, as it streams, into content, reasoning and tool calls."""

    def __init__(self, *, calls: bool, thinking: bool = False) -> None:
        """`thinking`: the prompt has opened the thought already."""
        self._calls = calls
        self._buffer = ""
        self._state = _State.THINKING if thinking else _State.TEXT
        self._depth, self._in_string, self._escaped = 0, False, False
        self._fresh = not thinking
        self._after_thought = False
        self.count = 0
        """Calls that have begun."""

    def feed(self, text: str) -> list[Part]:
        """Parts that are certain after this text."""
        self._buffer += text
        parts: list[Part] = []
        while self._advance(parts):
            pass
        return parts

    def flush(self) -> list[Part]:
        """What is left at the end."""
        rest, self._buffer = self._buffer, ""
        if self._state is _State.TEXT:
            rest = rest.rstrip() if self.count else rest
            return [Content(rest)] if rest else []
        if self._state is _State.THINKING and rest:
            return [Reasoning(rest)]
        return []

    def _advance(self, parts: list[Part]) -> bool:
        """One transition; False when more text is needed."""
        match self._state:
            case _State.TEXT:
                return self._text(parts)
            case _State.THINKING:
                return self._thinking(parts)
            case _State.HEAD:
                return self._head(parts)
            case _State.ARGUMENTS:
                return self._arguments(parts)
            case _State.TAIL:
                return self._skip_past(CLOSE, _State.TEXT)

    def _text(self, parts: list[Part]) -> bool:
        if self._after_thought:
            self._buffer = self._buffer.lstrip("\n")
            self._after_thought = not self._buffer
        if self._fresh and self._buffer.lstrip().startswith(THINK):
            self._fresh = False
            return self._skip_past(THINK, _State.THINKING)
        if self._fresh and THINK.startswith(self._buffer.strip()):
            return False
        self._fresh = False
        at = self._buffer.find(OPEN) if self._calls else -1
        if at >= 0:
            self._say(parts, self._buffer[:at].rstrip())
            self._buffer = self._buffer[at:]
            return self._skip_past(OPEN, _State.HEAD)
        cut = self._certain(OPEN) if self._calls else len(self._buffer)
        self._say(parts, self._buffer[:cut])
        self._buffer = self._buffer[cut:]
        return False

    def _say(self, parts: list[Part], text: str) -> None:
        if text and not (self.count and not text.strip()):
            parts.append(Content(text))

    def _certain(self, mark: str) -> int:
        """Length of the buffer without an end that may belong to `mark` or to the white space before it."""
        text = self._buffer
        kept = next((n for n in range(len(mark) - 1, 0, -1) if text.endswith(mark[:n])), 0)
        return len(text[: len(text) - kept].rstrip())

    def _thinking(self, parts: list[Part]) -> bool:
        """Up to the end of the thought, or to a call that begins inside it, as the guide sees it too."""
        marks = (THOUGHT, OPEN) if self._calls else (THOUGHT,)
        found = [(at, mark) for mark in marks if (at := self._buffer.find(mark)) >= 0]
        at, mark = min(found, default=(min(map(self._certain, marks)), ""))
        if at:
            parts.append(Reasoning(self._buffer[:at].rstrip() if mark else self._buffer[:at]))
        self._buffer = self._buffer[at + len(mark) :]
        if mark:
            self._state = _State.HEAD if mark == OPEN else _State.TEXT
            self._after_thought = mark == THOUGHT
        return bool(mark)

    def _skip_past(self, mark: str, state: _State) -> bool:
        at = self._buffer.find(mark)
        if at < 0:
            return False
        self._buffer = self._buffer[at + len(mark) :]
        self._state = state
        return True

    def _head(self, parts: list[Part]) -> bool:
        match = _HEAD.match(self._buffer)
        if match is None:
            return False
        parts.append(CallStart(self.count, match.group(1)))
        self.count += 1
        self._buffer = self._buffer[match.end() :]
        self._depth, self._in_string, self._escaped = 0, False, False
        self._state = _State.ARGUMENTS
        return True

    def _arguments(self, parts: list[Part]) -> bool:
        """Everything up to the brace that closes the arguments."""
        for i, c in enumerate(self._buffer):
            if self._in_string:
                self._in_string = self._escaped or c != '"'
                self._escaped = c == "\\" and not self._escaped
            elif c == '"':
                self._in_string = True
            elif c in "{[":
                self._depth += 1
            elif c in "}]":
                self._depth -= 1
                if self._depth == 0:
                    parts.append(CallArguments(self.count - 1, self._buffer[: i + 1]))
                    self._buffer = self._buffer[i + 1 :]
                    self._state = _State.TAIL
                    return True
        if self._buffer:
            parts.append(CallArguments(self.count - 1, self._buffer))
            self._buffer = ""
        return False
