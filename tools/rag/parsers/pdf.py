"""PDF to text, page by page. Runs in a process of its own: see `tools.rag.parse`."""

import re
from collections.abc import Iterator
from pathlib import Path

import pypdfium2 as pdfium

from tools.errors import UnreadableDocument
from tools.rag.text import Builder, Extract

# pdfium marks a hyphen at a line's end with one of these.
SOFT_HYPHEN = re.compile("[\ufffe\u0002\u00ad]\\s*\n?")
HYPHENATED = re.compile(r"(?<=[^\W\d_])-\n(?=[a-z])")
SENTENCE_END = (".", "!", "?", ":", ";", "؟", "۔", "…", ".”", ".)")
WRAPPED_FROM = 0.7
"""A line at least this long, in parts of the page's longest, was probably wrapped there."""
PASSWORD_ERROR = 4
"""FPDF_ERR_PASSWORD of fpdfview.h."""


def parse_pdf(path: Path) -> Extract:
    """The text of a PDF with its pages; raises `UnreadableDocument`."""
    document = _open(path)
    try:
        builder = Builder(title=_title(document))
        for number, text in enumerate(_pages(document), start=1):
            builder.page(number, unwrap(text))
        return builder.build()
    finally:
        document.close()


def _open(path: Path) -> pdfium.PdfDocument:
    try:
        return pdfium.PdfDocument(path)
    except pdfium.PdfiumError as error:
        if getattr(error, "err_code", None) == PASSWORD_ERROR or "password" in str(error).lower():
            raise UnreadableDocument(
                "The PDF is protected by a password. Save a copy without one and upload that."
            ) from error
        raise UnreadableDocument("The PDF is broken and cannot be opened. Export it again.") from error


def _title(document: pdfium.PdfDocument) -> str | None:
    title = " ".join(str(document.get_metadata_dict().get("Title") or "").split())
    return title or None


def _pages(document: pdfium.PdfDocument) -> Iterator[str]:
    for index in range(len(document)):
        page = document[index]
        try:
            text_page = page.get_textpage()
            yield str(text_page.get_text_bounded())
            text_page.close()
        except pdfium.PdfiumError as error:
            raise UnreadableDocument(f"Page {index + 1} of the PDF is broken. Export it again.") from error
        finally:
            page.close()


def unwrap(text: str) -> str:
    """Join the lines that only the page's width broke, so that a sentence stands on one line."""
    text = SOFT_HYPHEN.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))
    lines = [" ".join(line.split()) for line in HYPHENATED.sub("", text).split("\n")]
    width = max(map(len, lines), default=0)
    joined: list[str] = []
    for line in lines:
        if joined and line and _goes_on(joined[-1], line, width):
            joined[-1] += " " + line
        else:
            joined.append(line)
    return "\n".join(joined)


def _goes_on(before: str, line: str, width: int) -> bool:
    last = before.rsplit("\n", 1)[-1]
    if not last or last.endswith(SENTENCE_END):
        return False
    return line[0].islower() or len(last) >= WRAPPED_FROM * width
