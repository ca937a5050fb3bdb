"""What a parser makes of a document: its text, with places in it that can be cited.

Offsets are code points of `text`, start included and end excluded. Every passage that is shown later is an
exact slice of this text, so that a quotation can be checked against it.
"""

import re
import unicodedata
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Page:
    """One page of a paged document, numbered from 1."""

    number: int
    start: int
    end: int


@dataclass(frozen=True)
class Heading:
    """A heading: where its section starts, how deep it is, and what it says."""

    start: int
    level: int
    title: str


@dataclass(frozen=True)
class Extract:
    """The text of one document."""

    text: str
    title: str | None = None
    keywords: str = ""
    pages: tuple[Page, ...] = ()
    headings: tuple[Heading, ...] = ()


@dataclass
class Builder:
    """Puts a text together block by block and remembers where things are."""

    title: str | None = None
    keywords: str = ""
    _parts: list[str] = field(default_factory=list)
    _length: int = 0
    _pages: list[Page] = field(default_factory=list)
    _headings: list[Heading] = field(default_factory=list)

    def block(self, text: str, gap: str = "\n\n") -> int:
        """Append a block after `gap`; the offset where it starts."""
        text = clean(text)
        if text:
            if self._length:
                self._append(gap)
            self._append(text)
        return self._length - len(text)

    def line(self, text: str) -> int:
        """Append a line right under the one before."""
        return self.block(text, gap="\n")

    def heading(self, level: int, title: str) -> None:
        """Append a heading as a block of its own."""
        title = " ".join(clean(title).split())
        if title:
            self._headings.append(Heading(self.block(title), level, title))
            if self.title is None and level == 1:
                self.title = title

    def page(self, number: int, text: str) -> None:
        """Append a page."""
        start = self.block(text)
        self._pages.append(Page(number, start, self._length))

    def build(self) -> Extract:
        """The finished extract."""
        return Extract(
            text="".join(self._parts),
            title=self.title,
            keywords=self.keywords,
            pages=tuple(self._pages),
            headings=tuple(self._headings),
        )

    def _append(self, text: str) -> None:
        self._parts.append(text)
        self._length += len(text)


CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ufeff\ufffe\uffff\u200b]")


def clean(text: str) -> str:
    """NFC, plain line ends, no control characters, no blanks at line ends, no runs of empty lines."""
    text = unicodedata.normalize("NFC", text.replace("\r\n", "\n").replace("\r", "\n"))
    text = CONTROL.sub("", text).replace("\u00a0", " ").replace("\t", " ")
    text = re.sub(r" +(?=\n|$)", "", text)
    return re.sub(r"\n{3,}", "\n\n", text).strip("\n ")
