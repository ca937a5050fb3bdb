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

QUOTE = re.compile(r"[\"“]([^\"“”]{2,}?)[\"”]\s*[.,;:]?\s*((?:\[\d{1,3}\]\s*)+)?")
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
    """Text quoted in an answer ("" where only a number stands) and the number beside it."""

    quote: str
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
    sources = [source for citation in citations(answer) for source in _source(citation, found)]
    return list({(source.n, source.document_id, source.quote): source for source in sources}.values())


def citations(answer: str) -> Iterator[Citation]:
    """Quotes with their numbers, then numbers that stand alone."""
    rest = answer
    for match in QUOTE.finditer(answer):
        quote, numbers = match.group(1).strip(), NUMBER.findall(match.group(2) or "")
        if numbers or len(quote.split()) >= FEW_WORDS:
            yield from (Citation(quote, int(n)) for n in numbers) if numbers else [Citation(quote, None)]
        rest = rest.replace(match.group(0), " ", 1)
    yield from (Citation("", int(n)) for n in dict.fromkeys(NUMBER.findall(rest)))


def _source(citation: Citation, found: Sequence[Passage]) -> Iterable[Source]:
    named = [p for p in reversed(found) if citation.n in (None, p.n)]
    for passage in named:
        span = locate(citation.quote, passage.text)
        if citation.quote and span is not None:
            return [_made(citation, passage, span)]
    # A quote without a number and without a passage is somebody's words, not a citation.
    return [_made(citation, named[0], None)] if named and citation.n is not None else []


def _made(citation: Citation, passage: Passage, span: tuple[int, int] | None) -> Source:
    start, end = passage.start, passage.end
    if span and start is not None:
        start, end = start + span[0], start + span[1]
    return Source(
        n=passage.n,
        document=passage.document,
        document_id=passage.document_id,
        page=passage.page,
        section=passage.section,
        quote=citation.quote,
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
