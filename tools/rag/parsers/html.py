"""HTML to plain text: blocks on lines of their own, headings kept, scripts and navigation left out."""

import re
from html.parser import HTMLParser

from tools.rag.text import Builder, Extract

SKIPPED = {"script", "style", "template", "noscript", "svg", "nav", "iframe", "head"}
_BLOCKS = """
    address article aside blockquote body dd details div dl dt fieldset figcaption figure footer form header
    hr li main ol p pre section summary table tbody td tfoot th thead tr ul
"""
BLOCKS = frozenset(_BLOCKS.split())


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.out = Builder()
        self._words: list[str] = []
        self._skip: list[str] = []
        self._heading: int | None = None
        self._row: list[str] | None = None
        self._in_title = False
        self._after: str | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "title":
            self._in_title = True
        elif tag in SKIPPED:
            self._skip.append(tag)
        elif tag == "br":
            self._words.append("\n")
        elif re.fullmatch(r"h[1-6]", tag):
            self._flush()
            self._heading = int(tag[1])
        elif tag in BLOCKS:
            self._start_block(tag)

    def _start_block(self, tag: str) -> None:
        if tag == "tr":
            self._flush()
            self._row = []
        elif self._row is None:
            self._flush()
            if tag == "li":
                self._words.append("- ")

    def handle_endtag(self, tag: str) -> None:
        if tag == "title":
            self._in_title = False
        elif self._skip and tag == self._skip[-1]:
            self._skip.pop()
        elif re.fullmatch(r"h[1-6]", tag):
            self._end_heading()
        elif tag in ("td", "th") and self._row is not None:
            self._row.append(self._taken())
        elif tag == "tr":
            self._end_row()
        elif tag in BLOCKS and self._row is None:
            self._flush("\n" if tag == "li" else "\n\n")

    def handle_data(self, data: str) -> None:
        if self._in_title:
            self.out.title = (self.out.title or "") + " ".join(data.split())
        elif not self._skip:
            self._words.append(re.sub(r"\s+", " ", data))

    def close(self) -> None:
        super().close()
        self._flush()

    def _taken(self) -> str:
        text = "".join(self._words)
        self._words.clear()
        return "\n".join(" ".join(line.split()) for line in text.split("\n")).strip()

    def _flush(self, gap: str = "\n\n") -> None:
        text = self._taken()
        if text and text != "-":
            self.out.block(text, gap)

    def _end_heading(self) -> None:
        title = self._taken()
        if self._heading is not None:
            self.out.heading(self._heading, title)
        self._heading = None

    def _end_row(self) -> None:
        if self._row:
            self.out.block(" | ".join(" ".join(cell.split()) for cell in self._row), "\n")
        self._row = None


def parse_html(source: str) -> Extract:
    """The text of an HTML page."""
    reader = _Reader()
    reader.feed(source)
    reader.close()
    return reader.out.build()


def html_to_text(source: str) -> str:
    """The text of a fragment of HTML."""
    return parse_html(source).text
