"""Markdown to plain text that reads well and can be quoted: no link targets, no markup, headings kept."""

import re
from collections.abc import Iterator
from itertools import pairwise

import yaml
from markdown_it import MarkdownIt
from markdown_it.token import Token

from tools.rag.parsers.html import html_to_text
from tools.rag.text import Builder, Extract

FRONT_MATTER = re.compile(r"\A---[ \t]*\n(.*?)\n---[ \t]*(?:\n|\Z)", re.DOTALL)
TEMPLATE_TAG = re.compile(r"\{%.{0,1000}?%\}", re.DOTALL)
QUOTED = re.compile(r"[\"“]([^\"”]+)[\"”]")
PATH = re.compile(r"/|^#|\.\w{2,4}$")
FENCED = re.compile(r"(^ {0,3}(?:```|~~~).*?^ {0,3}(?:```|~~~)[ \t]*$)", re.DOTALL | re.MULTILINE)


def parse_markdown(source: str) -> Extract:
    """The text of a Markdown document; the title comes from front matter or the first heading."""
    builder = Builder()
    body = _front_matter(source.replace("\r\n", "\n"), builder)
    parser = MarkdownIt("commonmark").enable("table")
    _Blocks(builder).read(parser.parse(_without_template_tags(body)))
    if builder.title and not builder.build().text:
        # A page that only forwards to another one still has a name to be found by.
        builder.block(builder.title)
    return builder.build()


def _front_matter(source: str, builder: Builder) -> str:
    found = FRONT_MATTER.match(source)
    if found is None:
        return source
    try:
        fields = yaml.safe_load(found.group(1))
    except yaml.YAMLError:
        return source
    if isinstance(fields, dict):
        title = fields.get("title")
        builder.title = str(title).strip() or None if title else None
        builder.keywords = _listed(fields.get("keywords")) or _listed(fields.get("tags"))
    return source[found.end() :]


def _listed(value: object) -> str:
    items = value if isinstance(value, list) else [value] if value else []
    return ", ".join(str(item) for item in items)


def _without_template_tags(source: str) -> str:
    """Site generators put `{% tags %}` between the words and into link targets; most are no text."""
    parts = FENCED.split(source)
    return "".join(part if FENCED.fullmatch(part) else TEMPLATE_TAG.sub(_tag_words, part) for part in parts)


def _tag_words(tag: re.Match[str]) -> str:
    """The words of a tag such as `{% channel "travel" %}`; none of one that names a path or a target."""
    before = tag.string[tag.start() - 1] if tag.start() else " "
    words = [argument for argument in QUOTED.findall(tag.group()) if not PATH.search(argument)]
    return words[0] if words and before not in "(\"'=" else ""


class _Blocks:
    """Walks the parser's block tokens."""

    def __init__(self, builder: Builder) -> None:
        self._out = builder
        self._lists: list[int | None] = []
        self._marker = ""
        self._row: list[str] | None = None
        self._tight = False

    def read(self, tokens: list[Token]) -> None:
        for token, following in pairwise([*tokens, Token("end", "", 0)]):
            self._token(token, following)

    def _token(self, token: Token, following: Token) -> None:
        match token.type:
            case "heading_open":
                self._tight = False
                self._out.heading(int(token.tag[1]), inline_text(following))
            case "bullet_list_open":
                self._lists.append(None)
            case "ordered_list_open":
                self._lists.append(int(token.attrGet("start") or 1))
            case "bullet_list_close" | "ordered_list_close":
                self._lists.pop()
                self._tight = bool(self._lists)
            case "list_item_open":
                self._marker = self._next_marker()
            case "paragraph_open":
                self._paragraph(inline_text(following))
            case "code_block" if token.content.lstrip().startswith("<"):
                self._out.block(html_to_text(token.content))
            case "fence" | "code_block":
                self._out.block(token.content.rstrip("\n"))
            case "html_block":
                self._out.block(html_to_text(token.content))
            case "tr_open":
                self._row = []
            case "inline" if self._row is not None:
                self._row.append(" ".join(inline_text(token).split()))
            case "tr_close":
                self._table_row()

    def _next_marker(self) -> str:
        number = self._lists[-1]
        if number is None:
            return "- "
        self._lists[-1] = number + 1
        return f"{number}. "

    def _paragraph(self, text: str) -> None:
        # A soft break inside a paragraph is only a line wrap of the source.
        text = "\n".join(" ".join(part.split()) for part in text.split("\n"))
        if not text.strip():
            return
        if self._marker:
            gap = "\n" if self._tight else "\n\n"
            self._out.block(self._marker + text, gap)
            self._marker, self._tight = "", True
        else:
            self._out.block(text)
            self._tight = bool(self._lists)

    def _table_row(self) -> None:
        if self._row is not None and any(self._row):
            self._out.block(" | ".join(self._row), "\n" if self._tight else "\n\n")
            self._tight = True
        self._row = None


def inline_text(token: Token) -> str:
    """The words of an inline token: link texts and image descriptions, without their targets."""
    return "".join(_words(token.children or []))


def _words(tokens: list[Token]) -> Iterator[str]:
    for token in tokens:
        match token.type:
            case "text" | "code_inline":
                yield token.content
            case "softbreak":
                yield " "
            case "hardbreak":
                yield "\n"
            case "image":
                yield inline_text(token)
            case "html_inline" if token.content.lower().startswith("<br"):
                yield "\n"
