"""Are the quoted words of an answer really in the passage that it cites?

An answer quotes as `"Employees accrue 4 hours." [2]`. Both sides are compared after normalisation, so
that a typographic quote, a line break or Markdown's emphasis does not make a true quote false.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from graphs.events import Source

CLOSER = re.compile(r"[\"”]\s*[.,;:]?\s*((?:\[\d{1,3}\]\s*)+)")
OPENERS = '"“'
UNCITED = re.compile(r"[\"“]([^\"“”]{2,}?)[\"”]")
NUMBER = re.compile(r"\[(\d{1,3})\]")
FEW_WORDS = 4
"""A quoted text without a number counts as a citation from this many words on; below, it is a name."""

_SAME = str.maketrans({"“": '"', "”": '"', "‘": "'", "’": "'", "–": "-", "—": "-", "‑": "-"})
_MARKUP = set("*_`\\")


@dataclass(frozen=True, slots=True)
class Passage:
    """A hit of rag_search. `start` is the offset of `text` in the document's extracted text."""

    n: int
    document: str
    document_id: str
    text: str
    page: int | None = None
    section: str | None = None
    start: int | None = None
    end: int | None = None
    score: float | None = None


@dataclass(frozen=True, slots=True)
class Citation:
    """A quoted text in its possible readings, the longest first ("" where only a number stands), and the
    number beside it."""

    readings: tuple[str, ...]
    n: int | None


def passages(structured: dict[str, Any] | None) -> list[Passage]:
    """From the structured result of rag_search."""
    fields = Passage.__slots__
    return [Passage(**{f: hit.get(f) for f in fields}) for hit in (structured or {}).get("hits", ())]


def verify(answer: str, found: Sequence[Passage]) -> list[Source]:
    """One source per citation, in the order of the answer.

    `found` holds the passages of every search of the run, the latest search last: where two searches
    gave the same number, the one that holds the quote is meant, else the latest.
    """
    sources = [source for citation in citations(answer) for source in _sources(citation, found)]
    return list({(source.n, source.document_id, source.quote): source for source in sources}.values())


def citations(answer: str) -> Iterator[Citation]:
    """Quotes with their numbers, then long quotes without one, then numbers that stand alone."""
    begin, rest = 0, answer
    for closer in CLOSER.finditer(answer):
        quotes = _readings(answer, begin, closer.start())
        if not quotes:
            continue
        yield from (Citation(quotes, int(n)) for n in NUMBER.findall(closer.group(1)))
        rest = rest.replace(answer[closer.start() - len(quotes[-1]) : closer.end()], " ", 1)
        begin = closer.end()
    for match in UNCITED.finditer(rest):
        if len(match.group(1).split()) >= FEW_WORDS:
            yield Citation((match.group(1).strip(),), None)
    yield from (Citation(("",), int(n)) for n in dict.fromkeys(NUMBER.findall(rest)))


def _readings(answer: str, begin: int, end: int) -> tuple[str, ...]:
    """What a quote that closes at `end` may be: from each opening mark on, the longest first. A quoted
    sentence can hold quotation marks itself."""
    openings = [at for at in range(begin, end) if answer[at] in OPENERS]
    return tuple(text for at in openings if (text := answer[at + 1 : end].strip()))


def _sources(citation: Citation, found: Sequence[Passage]) -> Iterable[Source]:
    named = [p for p in reversed(found) if citation.n in (None, p.n)]
    for quote in filter(None, citation.readings):
        for passage in named:
            if span := locate(quote, passage.text):
                return [_made(quote, passage, span)]
    # A quote without a number and without a passage is somebody's words, not a citation.
    return [_made(citation.readings[-1], named[0], None)] if named and citation.n is not None else []


def _made(quote: str, passage: Passage, span: tuple[int, int] | None) -> Source:
    start, end = passage.start, passage.end
    if span and start is not None:
        start, end = start + span[0], start + span[1]
    return Source(
        n=passage.n,
        document=passage.document,
        document_id=passage.document_id,
        page=passage.page,
        section=passage.section,
        quote=quote,
        score=passage.score,
        start=start,
        end=end,
        verified=span is not None,
    )


def locate(quote: str, text: str) -> tuple[int, int] | None:
    """Offsets of a quote in a text, compared after normalisation; None where it is not there."""
    wanted = normalise(quote)[0].strip().rstrip(".").strip()
    folded, places = normalise(text)
    at = folded.find(wanted) if wanted else -1
    if at < 0:
        return None
    return places[at], places[at + len(wanted) - 1] + 1


def normalise(text: str) -> tuple[str, list[int]]:
    """Case-folded NFKC text with single spaces, plain quotes and no Markdown marks; and for each of its
    characters the offset in the original."""
    out: list[str] = []
    places: list[int] = []
    for offset, original in enumerate(text):
        for char in unicodedata.normalize("NFKC", original).translate(_SAME).casefold():
            char = " " if char.isspace() else char
            if char in _MARKUP or (char == " " and (not out or out[-1] == " ")):
                continue
            out.append(char)
            places.append(offset)
    return "".join(out), places
