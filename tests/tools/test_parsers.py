"""Each format to text that can be quoted, with pages and headings where it has them."""

from pathlib import Path

import pytest
from docx import Document
from reportlab.lib.pdfencrypt import StandardEncryption
from reportlab.pdfgen.canvas import Canvas

from tools.errors import UnreadableDocument
from tools.rag.parse import decoded, kind_of, parse
from tools.rag.parsers.csv import parse_csv
from tools.rag.parsers.html import parse_html
from tools.rag.parsers.markdown import parse_markdown
from tools.rag.parsers.pdf import unwrap

MARKDOWN = """---
title: Leave types
keywords: vacation, jury
---
{% alert %}
See the [chart](https://example.com/a?b=c).
{% endalert %}

# Leave

Ask [your *lead*]({% page "x/y" %}) and **wait** for `approval`.

## Sick leave

You can use it for:
* Illness, yours or
  your child's
* Dentist
  1. once
  2. twice

| Who | Hours |
| --- | ----- |
| All | **4** |

```
{% kept %}
```
<table><tr><td>Row</td><td>Value</td></tr></table>
"""


def test_markdown_becomes_words_without_markup() -> None:
    extract = parse_markdown(MARKDOWN)
    assert extract.title == "Leave types"
    assert extract.keywords == "vacation, jury"
    assert "Ask your lead and wait for approval." in extract.text
    assert "See the chart." in extract.text
    assert "- Illness, yours or your child's\n- Dentist\n1. once\n2. twice" in extract.text
    assert "Who | Hours\nAll | 4" in extract.text
    assert "{% kept %}" in extract.text
    assert "Row | Value" in extract.text
    assert "http" not in extract.text
    assert [(h.level, h.title) for h in extract.headings] == [(1, "Leave"), (2, "Sick leave")]
    for heading in extract.headings:
        assert extract.text[heading.start :].startswith(heading.title)


def test_template_tags_leave_their_words() -> None:
    extract = parse_markdown(
        'Ask in {% channel "jobs" "The jobs" %}, see [it]({% page\n"a/b" %}). {% include "a.html" b: c %}\n\n'
        '{% image "x/y.png" "A map" %}'
    )
    assert extract.text == "Ask in jobs, see it.\n\nA map"


def test_markdown_that_only_forwards_is_found_by_its_title() -> None:
    assert parse_markdown("---\ntitle: Billing policy\nredirect_to: /x/\n---\n").text == "Billing policy"


def test_markdown_with_broken_front_matter_is_still_text() -> None:
    assert "a: [b" in parse_markdown("---\na: [b\n---\nWords.").text


def test_html_becomes_blocks_headings_and_rows() -> None:
    extract = parse_html(
        "<html><head><title>T</title><style>p{}</style></head><body><nav>menu</nav><h1>One</h1>"
        "<p>First&nbsp;&amp; <b>bold</b><br>line</p><ul><li>a</li><li>b</li></ul>"
        "<table><tr><th>k</th><th>v</th></tr><tr><td>x</td><td>1</td></tr></table><script>no()</script></body>"
    )
    assert extract.title == "T"
    assert extract.text == "One\n\nFirst & bold\nline\n- a\n- b\nk | v\nx | 1"
    assert [h.title for h in extract.headings] == ["One"]


def test_csv_rows_carry_the_names_of_their_columns() -> None:
    extract = parse_csv('name;city;note\nAda;Lisbon;"two\nlines"\nBen;;\n\nCleo;Porto;x;extra\n')
    assert extract.text.splitlines() == [
        "name; city; note",
        "name: Ada; city: Lisbon; note: two lines",
        "name: Ben",
        "name: Cleo; city: Porto; note: x; extra",
    ]


def test_pdf_lines_that_the_page_broke_are_joined() -> None:
    page = (
        "Employees accrue four hours of sick leave every pay\n"
        "period. It stays and may be trans-\n"
        "ferred.\nShort\nEnd."
    )
    assert unwrap(page).split("\n") == [
        "Employees accrue four hours of sick leave every pay period. It stays and may be transferred.",
        "Short",
        "End.",
    ]


def write_pdf(path: Path, pages: list[str], password: str | None = None) -> Path:
    encryption = StandardEncryption(password) if password else None
    canvas = Canvas(str(path), encrypt=encryption)
    canvas.setTitle("Travel guide")
    for text in pages:
        for number, line in enumerate(text.split("\n")):
            canvas.drawString(72, 720 - 14 * number, line)
        canvas.showPage()
    canvas.save()
    return path


async def test_pdf_is_read_page_by_page(tmp_path: Path) -> None:
    path = write_pdf(tmp_path / "a.pdf", ["Book the flight first.", "Keep every receipt."])
    extract = await parse(path, "pdf", 60)
    assert extract.title == "Travel guide"
    assert [page.number for page in extract.pages] == [1, 2]
    assert [extract.text[p.start : p.end] for p in extract.pages] == [
        "Book the flight first.",
        "Keep every receipt.",
    ]


async def test_pdf_with_a_password_is_refused(tmp_path: Path) -> None:
    path = write_pdf(tmp_path / "a.pdf", ["Secret."], password="open sesame")
    with pytest.raises(UnreadableDocument, match="protected by a password"):
        await parse(path, "pdf", 60)


async def test_broken_pdf_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.pdf"
    path.write_bytes(b"%PDF-1.7\n" + b"\x00garbage" * 50)
    with pytest.raises(UnreadableDocument, match="broken"):
        await parse(path, "pdf", 60)


async def test_pdf_without_text_says_that_there_is_no_ocr(tmp_path: Path) -> None:
    path = tmp_path / "a.pdf"
    canvas = Canvas(str(path))
    canvas.rect(100, 100, 200, 200, fill=1)
    canvas.save()
    with pytest.raises(UnreadableDocument, match="OCR"):
        await parse(path, "pdf", 60)


async def test_a_parser_that_takes_too_long_is_stopped(tmp_path: Path) -> None:
    path = write_pdf(tmp_path / "a.pdf", ["Words."] * 50)
    with pytest.raises(UnreadableDocument, match=r"took over 0\.01 s"):
        await parse(path, "pdf", 0.01)


async def test_docx_keeps_headings_lists_and_tables(tmp_path: Path) -> None:
    document = Document()
    document.add_heading("Hiring", level=1)
    document.add_heading("Interviews", level=2)
    document.add_paragraph("Two people ask, one writes.")
    document.add_paragraph("Be on time", style="List Bullet")
    table = document.add_table(rows=1, cols=2)
    table.rows[0].cells[0].text, table.rows[0].cells[1].text = "Round", "2"
    document.save(str(tmp_path / "a.docx"))
    extract = await parse(tmp_path / "a.docx", "docx", 60)
    assert [(h.level, h.title) for h in extract.headings] == [(1, "Hiring"), (2, "Interviews")]
    assert "Two people ask, one writes.\n- Be on time" in extract.text
    assert extract.text.endswith("Round | 2")


async def test_broken_docx_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.docx"
    path.write_bytes(b"PK\x03\x04 not really")
    with pytest.raises(UnreadableDocument, match="Word file is broken"):
        await parse(path, "docx", 60)


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        ("naïve".encode(), "naïve"),
        (b"\xef\xbb\xbfmark", "mark"),
        ("wide".encode("utf-16"), "wide"),
        (b"caf\xe9", "café"),
    ],
)
def test_text_files_are_decoded(raw: bytes, text: str) -> None:
    assert decoded(raw) == text


def test_a_binary_file_is_no_text() -> None:
    with pytest.raises(UnreadableDocument, match="not a text file"):
        decoded(b"\x7fELF\x00\x00")


def test_the_kind_comes_from_the_name_then_the_media_type() -> None:
    assert kind_of("deep/er/Notes.MD", "") == "markdown"
    assert kind_of("notes", "text/plain; charset=utf-8") == "text"
    with pytest.raises(UnreadableDocument, match=r"a\.exe is of an unknown type.*pdf"):
        kind_of("a.exe", "application/x-msdownload")
