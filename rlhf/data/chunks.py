"""A long text as pieces of at most so many tokens, each beginning a little before the last one ended."""

import re
from bisect import bisect_right

from rlhf.data.tokens import Tokens

_BREAKS = (re.compile(r"\n\s*\n"), re.compile(r"(?<=[.!?。؟])\s|\n"), re.compile(r"\s"))
"""Where a piece ends best: after a paragraph, a sentence, a word."""
LATEST = 0.5
"""Share of a piece that has to be full before an end is looked for."""


def pieces(text: str, most: int, overlap: int, tokens: Tokens) -> list[str]:
    """The pieces in their order. None has more than `most` tokens; from each to the next at most `overlap`
    tokens are said twice. A text that fits is one piece.
    """
    if tokens.count(text) <= most:
        return [text]
    ends, found, start = tokens.ends(text), list[str](), 0
    while start < len(text):
        first = _token_after(ends, start)
        if (stop := _fitting(text, start, ends, first + most, tokens, most)) >= len(text):
            found.append(text[start:].strip())
            break
        found.append(text[start:stop].strip())
        start = _next(text, start, stop, ends, overlap)
    return [piece for piece in found if piece]


def _fitting(text: str, start: int, ends: list[int], upto: int, tokens: Tokens, most: int) -> int:
    """Where a piece that begins at `start` ends. It is counted: a part may have more tokens."""
    first = _token_after(ends, start)
    while True:
        stop = len(text) if upto >= len(ends) else _break(text, start, ends[upto - 1])
        if tokens.count(text[start:stop].strip()) <= most or upto <= first + 1:
            return stop
        upto -= 1


def _break(text: str, start: int, stop: int) -> int:
    earliest = start + int((stop - start) * LATEST)
    for pattern in _BREAKS:
        if places := [match.end() for match in pattern.finditer(text, earliest, stop)]:
            return places[-1]
    return stop


def _next(text: str, start: int, stop: int, ends: list[int], overlap: int) -> int:
    """Where the next piece begins: at a word, `overlap` tokens back at most."""
    last = _token_after(ends, stop)
    back = ends[last - overlap - 1] if overlap and last > overlap else stop
    if not start < back < stop:
        return stop
    word = _BREAKS[-1].search(text, back, stop)
    return word.end() if word else back


def _token_after(ends: list[int], place: int) -> int:
    """The first token that ends after a place."""
    return bisect_right(ends, place)
