"""From a file to its text. Formats with native or zipped insides are parsed in a process of their own.

A broken PDF can crash or hang a parser; here that costs one document and not the service. The child is
`tools.rag.parsers.child`, limited in memory and time.
"""

import asyncio
import json
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from tools.errors import UnreadableDocument
from tools.rag.parsers.child import REFUSED
from tools.rag.parsers.csv import parse_csv
from tools.rag.parsers.html import parse_html
from tools.rag.parsers.markdown import parse_markdown
from tools.rag.text import Builder, Extract, Heading, Page

KINDS = {
    ".md": "markdown",
    ".markdown": "markdown",
    ".mdx": "markdown",
    ".txt": "text",
    ".text": "text",
    ".log": "text",
    ".rst": "text",
    ".csv": "csv",
    ".tsv": "csv",
    ".html": "html",
    ".htm": "html",
    ".pdf": "pdf",
    ".docx": "docx",
}
MEDIA_TYPES = {
    "text/markdown": "markdown",
    "text/plain": "text",
    "text/csv": "csv",
    "text/tab-separated-values": "csv",
    "text/html": "html",
    "application/xhtml+xml": "html",
    "application/pdf": "pdf",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document": "docx",
}
ISOLATED = ("pdf", "docx")


def kind_of(name: str, media_type: str) -> str:
    """The kind of a document by its name, else by its media type; raises `UnreadableDocument`."""
    kind = KINDS.get(Path(name).suffix.lower()) or MEDIA_TYPES.get(media_type.partition(";")[0].strip())
    if kind is None:
        known = ", ".join(sorted({suffix.removeprefix(".") for suffix in KINDS}))
        raise UnreadableDocument(f"{name} is of an unknown type. These can be read: {known}.")
    return kind


async def parse(path: Path, kind: str, seconds: float) -> Extract:
    """The text of a file; raises `UnreadableDocument` with what to do."""
    extract = (
        await _in_child(path, kind, seconds)
        if kind in ISOLATED
        else await asyncio.to_thread(_read, path, kind)
    )
    if not any(letter.isalnum() for letter in extract.text):
        if kind == "pdf":
            raise UnreadableDocument(
                "The PDF holds pictures of text only, and text in pictures (OCR) cannot be read yet. "
                "Upload a PDF with text in it."
            )
        raise UnreadableDocument("The document holds no text.")
    return extract


def parse_text(source: str) -> Extract:
    """Plain text as it is."""
    builder = Builder()
    builder.block(source)
    return builder.build()


READERS: dict[str, Callable[[str], Extract]] = {
    "markdown": parse_markdown,
    "text": parse_text,
    "csv": parse_csv,
    "html": parse_html,
}


def _read(path: Path, kind: str) -> Extract:
    return READERS[kind](decoded(path.read_bytes()))


def decoded(raw: bytes) -> str:
    """The text of a file: UTF-8, UTF-16 with its mark, else Windows-1252; raises `UnreadableDocument`."""
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        return raw.decode("utf-16", errors="replace")
    if b"\x00" in raw[:100_000]:
        raise UnreadableDocument("This is not a text file. Give it the ending of its real type.")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        return raw.decode("cp1252", errors="replace")


async def _in_child(path: Path, kind: str, seconds: float) -> Extract:
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tools.rag.parsers.child", str(path), kind),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        async with asyncio.timeout(seconds):
            output, _ = await child.communicate()
    except TimeoutError as error:
        raise UnreadableDocument(
            f"Reading the document took over {seconds:g} s and was stopped. Split it."
        ) from error
    finally:
        if child.returncode is None:
            with suppress(ProcessLookupError):
                child.kill()
            await child.wait()
    return _answer(child.returncode, output)


def _answer(status: int | None, output: bytes) -> Extract:
    if status == REFUSED:
        raise UnreadableDocument(output.decode())
    if status != 0:
        raise UnreadableDocument("The document made its reader fail; it is probably broken. Export it again.")
    return _loads(output)


def _loads(raw: bytes) -> Extract:
    fields = json.loads(raw)
    return Extract(
        text=fields["text"],
        title=fields["title"],
        keywords=fields["keywords"],
        pages=tuple(Page(**page) for page in fields["pages"]),
        headings=tuple(Heading(**heading) for heading in fields["headings"]),
    )
