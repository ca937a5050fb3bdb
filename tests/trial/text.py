"""Whether words of an answer are in a page, and whether an answer says a figure."""

from __future__ import annotations

import re
import unicodedata

_LINK = re.compile(r"!?\[([^\]]*)\](?:\((?:[^()]|\([^()]*\))*\)|\[[^\]]*\])")
"""`[text](target)` and `[text][name]`."""
_TEMPLATE = re.compile(r"\{%[^%\"]*(?:\"([^%\"]*)\")?[^%]*%\}")
_MARKS = re.compile(r"[*_`\\#>|]+")
_TYPOGRAPHY = str.maketrans({"“": '"', "”": '"', "‘": "'", "’": "'", "–": "-", "—": "-", "\u00a0": " "})
_NUMBER = re.compile(r"-?\d+(?:,\d{3})*(?:\.\d+)?")
_QUOTED = re.compile(r'["“]([^"“”]+)["”]')


def plain(text: str, *, tags: str = " ") -> str:
    """`text` without Markdown marks, link targets, typographic quotes and extra white space.

    Template tags such as `{% slack_channel "people" %}` become `tags`, where `\\1` is the quoted argument.
    """
    text = _LINK.sub(r"\1", unicodedata.normalize("NFC", text).translate(_TYPOGRAPHY))
    return " ".join(_MARKS.sub(" ", _TEMPLATE.sub(tags, text)).split())


def holds(page: str, quote: str) -> bool:
    """Whether the words of `quote` stand in `page` in this order; an empty quote never does."""
    wanted = _tight(quote)
    # An extractor may drop template tags or keep what they name.
    return bool(wanted) and any(wanted in _tight(page, tags) for tags in (" ", r" \1 "))


def quotations(answer: str) -> list[str]:
    """What the answer puts in double quotes, pieces of two words and more."""
    return [quote for quote in _QUOTED.findall(answer) if len(quote.split()) > 1]


def says(answer: str, figure: str) -> bool:
    """Whether `answer` has `figure`: a number rounded as the figure is, or words, accents and case apart."""
    if not _NUMBER.fullmatch(figure):
        return _fold(figure) in _fold(answer)
    decimals = len(figure.partition(".")[2])
    wanted = float(figure)
    numbers = (float(number.replace(",", "")) for number in _NUMBER.findall(answer))
    return any(round(number, decimals) == wanted for number in numbers)


def _tight(text: str, tags: str = " ") -> str:
    """Lower case without white space: extraction may join or part lines anywhere."""
    return "".join(plain(text, tags=tags).lower().split())


def _fold(text: str) -> str:
    letters = unicodedata.normalize("NFKD", plain(text)).casefold()
    return "".join(letter for letter in letters if not unicodedata.combining(letter))
