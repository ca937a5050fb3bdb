"""Passages: pieces of a document that are small enough to read and whole enough to quote.

A passage is an exact slice of the document's text. It never crosses a page or a heading, and never cuts a
sentence unless the sentence alone is longer than a passage may be.
"""

import bisect
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tools.rag.text import Extract, Heading, Page

TARGET_CHARS = 650
"""Size of a passage: about 160 tokens, so that five fit the context of a small model."""
MAX_CHARS = 800
"""Longest passage, where a sentence would otherwise stand alone, and longest piece of one sentence."""
MIN_CHARS = 200
"""What is shorter is not left alone where it can be helped, even if a passage grows beyond the target."""

ABBREVIATION = re.compile(
    r"(?:\b(?:[A-Z]|e\.g|i\.e|etc|vs|cf|approx|incl|no|nos|fig|dr|mr|mrs|ms|prof|st|jr|sr|inc|ltd|co|dept|gov"
    r"|jan|feb|mar|apr|jun|jul|aug|sept?|oct|nov|dec|u\.s|d\.c|a\.m|p\.m))\.$",
    re.IGNORECASE,
)
SENTENCE_BREAK = re.compile(r"(?<=[.!?؟۔。！？…])[\"'”’)\]]*[ ]+|\n+")


@dataclass(frozen=True)
class Chunk:
    """One passage: its slice of the text, and where that is for a reader."""

    start: int
    end: int
    page: int | None
    section: str | None


def sentences(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """The slices of `text[start:end]` that are sentences or lines, without the space between."""
    begin = _skip_blanks(text, start, end)
    for found in SENTENCE_BREAK.finditer(text, start, end):
        if found.group()[-1] != "\n" and ABBREVIATION.search(text, begin, found.start()):
            continue
        closing = len(found.group().rstrip()) if found.group()[-1] != "\n" else 0
        stop = found.start() + closing
        if text[begin:stop].strip():
            yield begin, stop
        begin = _skip_blanks(text, found.end(), end)
    if text[begin:end].strip():
        yield begin, begin + len(text[begin:end].rstrip())


def _skip_blanks(text: str, start: int, end: int) -> int:
    while start < end and text[start].isspace():
        start += 1
    return start


def split(extract: Extract) -> list[Chunk]:
    """The passages of a document, in its order."""
    chunks: list[Chunk] = []
    starts = [page.start for page in extract.pages]
    for start, end, section in _stretches(extract):
        for begin, stop in _packed(extract.text, start, end):
            chunks.append(Chunk(begin, stop, _page(extract.pages, starts, begin), section))
    return chunks


def _page(pages: Sequence[Page], starts: list[int], offset: int) -> int | None:
    return pages[bisect.bisect_right(starts, offset) - 1].number if pages else None


def _stretches(extract: Extract) -> Iterator[tuple[int, int, str | None]]:
    """Parts of the text that a passage may not leave: sections without their heading, and pages."""
    for start, end, section in _sections(extract):
        pages = [page for page in extract.pages if page.start < end and page.end > start]
        for page in pages:
            yield max(start, page.start), min(end, page.end), section
        if not pages:
            yield start, end, section


def _sections(extract: Extract) -> Iterator[tuple[int, int, str | None]]:
    path: list[Heading] = []
    begin = 0
    for heading in extract.headings:
        yield begin, heading.start, _path(path)
        path = [*(outer for outer in path if outer.level < heading.level), heading]
        begin = heading.start + len(heading.title)
    yield begin, len(extract.text), _path(path)


def _path(headings: list[Heading]) -> str | None:
    return " > ".join(heading.title for heading in headings) or None


def _packed(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Sentences put together into passages; a short rest goes with what is before it."""
    pieces = list(_pieces(text, start, end))
    begin = stop = -1
    for first, last in pieces:
        rest = pieces[-1][1] - stop
        limit = MAX_CHARS if min(stop - begin, rest) < MIN_CHARS else TARGET_CHARS
        if begin >= 0 and last - begin > limit:
            yield begin, stop
            begin = -1
        begin, stop = (first if begin < 0 else begin), last
    if begin >= 0:
        yield begin, stop


def _pieces(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    for first, last in sentences(text, start, end):
        while last - first > MAX_CHARS:
            cut = text.rfind(" ", first + MAX_CHARS // 2, first + MAX_CHARS)
            stop = cut if cut > 0 else first + MAX_CHARS
            yield first, stop
            first = stop + 1 if cut > 0 else stop
        if first < last:
            yield first, last
