"""Answers whose quotations are real: what stands in double quotes is a whole sentence of a passage, with
its number.

Passages are what tool messages hold: `[n] name > section`, a newline, and the text up to the next blank
line with a number. Without passages there is nothing to hold on to, and nothing is constrained.
"""

import re
from collections.abc import Sequence

from llm_server.constraints.gbnf import Rules, choice, literal
from llm_server.engine.grammar import Grammar

PASSAGE = re.compile(r"^\[(\d+)\] [^\n]*\n(.*?)(?=\n\n\[\d+\] |\Z)", re.M | re.S)
SENTENCE = re.compile(r"\S.*?(?:[.!?][\"')\]]*(?=\s+[^a-z\s]|\s*$)|[\u3002\uff01\uff1f]|$)")
"""Up to a full stop that is not followed by a small letter (`e.g. this`)."""
BULLET = re.compile(r"^\s*(?:[-*+•]|\d{1,3}[.)]|#{1,6})\s+")
MAX_SENTENCES = 200
HEADING = 45
"""Characters below which a line may be a heading."""
SHORTEST = 3
"""Words below which a line is a heading or a scrap, not a quotation."""


def passages(texts: Sequence[str]) -> list[tuple[int, str]]:
    """Number and text of every passage of the tool messages."""
    return [(int(m.group(1)), m.group(2)) for text in texts for m in PASSAGE.finditer(text)]


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


def quotes_grammar(tool_texts: Sequence[str]) -> Grammar | None:
    """Grammar of an answer that quotes only from `tool_texts`; None when they hold no passages."""
    quoted: dict[str, list[str]] = {}
    for number, text in passages(tool_texts):
        for sentence in sentences(text)[:MAX_SENTENCES]:
            quoted.setdefault(sentence, []).append(f"[{number}]")
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
