"""Strings that are copied: spans of whole words of a text.

The grammar is a chain: one rule a word, each followed by the next word or by the end, and one alternative
for each word to begin at. It grows with the words, not with their square, and needs no limit on a span's
length.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass

from llm_server.constraints.gbnf import Rules, choice, literal

MAX_WORDS = 400
"""Words that are offered; of longer conversations the latest."""
WORD = re.compile(r"\w+(?:[-./@'\u2019:+#&]\w+)*|[^\s\w]")
OPENERS = frozenset("([{<\"'$#@~/-+=")
"""Marks that a span may begin with, where a word follows at once."""
NEVER_LAST = frozenset(".,;:?!([{<…-")


@dataclass(frozen=True, slots=True)
class Word:
    """A word or a punctuation mark, with what stands between it and the next one."""

    text: str
    gap: str


def words(text: str) -> list[Word]:
    """The words of `text` in order."""
    matches = list(WORD.finditer(text))
    ends = [m.start() for m in matches[1:]] + [matches[-1].end()] if matches else []
    return [Word(m.group(), text[m.end() : end]) for m, end in zip(matches, ends, strict=True)]


def latest(texts: Sequence[str], limit: int = MAX_WORDS) -> list[list[Word]]:
    """Words of the texts, the last text first, `limit` in all; a text that is cut keeps its end."""
    chosen: list[list[Word]] = []
    for text in reversed(texts):
        found = words(text)[-limit:] if limit > 0 else []
        if found and found not in chosen:
            chosen.append(found)
            limit -= len(found)
    return chosen


def span_rule(rules: Rules, texts: Sequence[str], hint: str = "span", quote: str = "json") -> str | None:
    """Rule for any span of whole words of `texts`; None when there is no word.

    `quote` says how the characters are escaped: `json` for inside a JSON string, `sql` for inside a SQL
    literal that is itself inside a JSON string.
    """
    starts: list[str] = []
    for number, found in enumerate(latest(texts)):
        while found and found[-1].text in NEVER_LAST:
            found = found[:-1]
        follow = ""
        for i in reversed(range(len(found))):
            word, last = found[i], i == len(found) - 1
            more = f"{literal(escape_text(word.gap, quote))} {follow}" if word.gap and not last else follow
            tail = "" if last else more if word.text in NEVER_LAST else f"({more})?"
            follow = rules.add(f"{hint}-{number}-{i}", f"{_spellings(word.text, quote)} {tail}".strip())
            if _begins(found, i):
                starts.append(follow)
    return rules.add(hint, choice(*dict.fromkeys(starts))) if starts else None


def _begins(found: Sequence[Word], i: int) -> bool:
    """Whether a span may begin here."""
    word = found[i]
    if word.text[0].isalnum() or word.text[0] == "_":
        return True
    return word.text in OPENERS and not word.gap and i + 1 < len(found) and found[i + 1].text[0].isalnum()


def _spellings(word: str, quote: str) -> str:
    """The word; in SQL also with a capital, because people write names without."""
    if quote == "sql" and word[0].islower():
        return choice(escape(word, quote), escape(word[0].upper() + word[1:], quote))
    return escape(word, quote)


def escape(text: str, quote: str) -> str:
    """GBNF literal of `text` as it stands inside the string."""
    return literal(escape_text(text, quote))


def escape_text(text: str, quote: str) -> str:
    """`text` as it stands inside the string."""
    if quote == "sql":
        text = text.replace("'", "''")
    return json.dumps(text, ensure_ascii=False)[1:-1]
