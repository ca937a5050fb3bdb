"""DOCX to text with its headings. Runs in a process of its own: see `tools.rag.parse`."""

import re
import zipfile
from pathlib import Path

from docx import Document
from docx.document import Document as DocumentObject
from docx.opc.exceptions import PackageNotFoundError
from docx.table import Table
from docx.text.paragraph import Paragraph

from tools.errors import UnreadableDocument
from tools.rag.text import Builder, Extract

MAX_UNPACKED_BYTES = 1024**3
HEADING = re.compile(r"heading (\d)", re.IGNORECASE)


def parse_docx(path: Path) -> Extract:
    """The text of a Word document; raises `UnreadableDocument`."""
    document = _open(path)
    builder = Builder(title=" ".join((document.core_properties.title or "").split()) or None)
    for block in document.iter_inner_content():
        if isinstance(block, Paragraph):
            _paragraph(builder, block)
        else:
            _table(builder, block)
    return builder.build()


def _open(path: Path) -> DocumentObject:
    try:
        with zipfile.ZipFile(path) as package:
            if sum(entry.file_size for entry in package.infolist()) > MAX_UNPACKED_BYTES:
                raise UnreadableDocument("The Word file unpacks to more than 1 GiB. Split it.")
        return Document(str(path))
    except (zipfile.BadZipFile, PackageNotFoundError, KeyError, ValueError) as error:
        # Word encrypts a file with a password into another container, which is no zip.
        raise UnreadableDocument(
            "The Word file is broken or protected by a password. Save it again as .docx without one."
        ) from error


def _paragraph(builder: Builder, paragraph: Paragraph) -> None:
    style = (paragraph.style.name if paragraph.style is not None else None) or ""
    level = HEADING.match(style)
    if level:
        builder.heading(int(level.group(1)), paragraph.text)
    elif style.lower() == "title":
        builder.title = builder.title or " ".join(paragraph.text.split()) or None
        builder.heading(1, paragraph.text)
    elif style.lower().startswith("list"):
        builder.line(f"- {' '.join(paragraph.text.split())}" if paragraph.text.strip() else "")
    else:
        builder.block(paragraph.text)


def _table(builder: Builder, table: Table) -> None:
    for number, row in enumerate(table.rows):
        cells = [" ".join(cell.text.split()) for cell in row.cells]
        builder.block(" | ".join(cells) if any(cells) else "", "\n" if number else "\n\n")
