"""Answers whose quotations are real: what stands in double quotes is a whole sentence of a passage, with
its number.

Passages are what tool messages hold: `[n] name > section`, a newline, and the text up to the next blank
line with a number. Without passages there is nothing to hold on to, and nothing is constrained.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from llm_server.constraints.gbnf import Rules, choice, literal
from llm_server.engine.grammar import Grammar

PASSAGE = re.compile(r"^\[(\d+)\] ([^\n]*)\n(.*?)(?=\n\n\[\d+\] |\Z)", re.M | re.S)
SENTENCE = re.compile(r"\S.*?(?:[.!?][\"')\]]*(?=\s+[^a-z\s]|\s*$)|[\u3002\uff01\uff1f]|$)")
"""Up to a full stop that is not followed by a small letter (`e.g. this`)."""
BULLET = re.compile(r"^\s*(?:[-*+•]|\d{1,3}[.)]|#{1,6})\s+")
MAX_SENTENCES = 200
HEADING = 45
"""Characters below which a line may be a heading."""
SHORTEST = 3
"""Words below which a line is a heading or a scrap, not a quotation."""


@dataclass(frozen=True, slots=True)
class Quote:
    """A sentence that may be quoted."""

    sentence: str
    number: int
    """Of its passage."""
    heading: str
    """The last part of the line above the passage: its section, or its document."""


def quotes(texts: Sequence[str]) -> list[Quote]:
    """Every whole sentence of the passages in the tool messages."""
    return [
        Quote(sentence, int(passage[1]), passage[2].rsplit(" > ", 1)[-1].strip())
        for text in texts
        for passage in PASSAGE.finditer(text)
        for sentence in sentences(passage[3])[:MAX_SENTENCES]
    ]


def sentences(text: str) -> list[str]:
    """Whole sentences and list items, broken lines joined; of one with quotation marks its longest part
    without.
    """
    found = []
    for block in _blocks(text):
        for match in SENTENCE.finditer(block):
            sentence = max((part.strip() for part in match.group().split('"')), key=len)
            if len(sentence.split()) >= SHORTEST:
                found.append(sentence)
    return found


def _blocks(text: str) -> list[str]:
    """Paragraphs, list items and headings as one line each."""
    blocks: list[str] = []
    fresh = True
    for line in text.splitlines():
        item = BULLET.sub("", line)
        words = " ".join(item.split())
        if fresh or item != line or _is_heading(blocks[-1], words):
            blocks.append(words)
        else:
            blocks[-1] = f"{blocks[-1]} {words}"
        fresh = not words
    return [block for block in blocks if block]


def _is_heading(line: str, following: str) -> bool:
    """A short line without a full stop before one that begins like a sentence."""
    return len(line) < HEADING and line[-1:] not in set(".,;:!?-") and following[:1].isupper()


def quotes_grammar(found: Sequence[Quote]) -> Grammar | None:
    """Grammar of an answer that quotes nothing but these; None when there are none."""
    quoted: dict[str, list[str]] = {}
    for one in found:
        quoted.setdefault(one.sentence, []).append(f"[{one.number}]")
    if not quoted:
        return None
    rules = Rules()
    options = [
        f'{literal(sentence)} "\\" " {choice(*map(literal, dict.fromkeys(numbers)))}'
        for sentence, numbers in list(quoted.items())[:MAX_SENTENCES]
    ]
    quote = rules.add("quote", '"\\"" ' + choice(*options))
    free = rules.add("free", '[^"]')
    first = next(iter(quoted))
    return Grammar(rules.text(f"({free} | {quote})*"), example=f'"{first}" {quoted[first][0]}')
