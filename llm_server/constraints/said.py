"""What a question gives a statement to compare with: numbers, dates, names, and the kinds of conditions."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

from llm_server.constraints.english import COUNTED, CUES, MEASURES, MONTHS, STOP_WORDS
from llm_server.constraints.spans import WORD

LATEST = 3
"""Texts of the user that are read, the last ones: `and in Germany?` goes on with what was asked before."""
MAX_CHARS = 1500
"""Of one of them: a grammar is written in the time of everybody's next token."""
LONGEST = 6
"""Words of a name."""
MAX_NAMES, MAX_FIGURES = 200, 40
_NUMBER = re.compile(r"(?<![\w.,-])-?\d+(?:,\d{3})*(?:\.\d+)?(?!\w|[,.-]\d)")
_DATE = re.compile(r"\b\d{4}-\d{2}-\d{2}\b")
_MONTH = re.compile(r"\b\d{4}-\d{2}\b(?!-)")
_NAMED_MONTH = re.compile(rf"\b({'|'.join(MONTHS)})\b(?: of)?,? ([12]\d{{3}})\b")
_YEAR = re.compile(r"\b[12]\d{3}\b")
_COUNT = rf"(?:[1-9]\d{{0,3}}|{'|'.join(COUNTED)})"
_TOP = re.compile(
    rf"\b(?:top|first|last|best|worst|bottom|\w{{3,}}est) (?P<after>{_COUNT})\b(?! ?[%.,]\d)"
    rf"|\b(?P<before>{_COUNT}) (?:most|least|best|worst|latest|top|\w{{3,}}est)\b"
)
_GROUPED = re.compile(
    r"(?<!sorted )(?<!ordered )(?<!ranked )\b(?:by|per|each|(?:for|in|of) every) (?:the |a |an )?([a-z]+)"
)
_ASKED = re.compile(r"^\W*(?:[a-z]+\W+){0,3}?(?:which|what) ([a-z]+)")
_QUOTED = re.compile(r"[\"“„«](.{1,80}?)[\"”“»]|(?<!\w)'([^']{1,80})'(?!\w)")


@dataclass(frozen=True)
class Said:
    """The last texts of the user; `things` are words of the schema, lower case and singular."""

    texts: tuple[str, ...]
    things: frozenset[str]

    @classmethod
    def of(cls, texts: Sequence[str], identifiers: Iterable[str]) -> "Said":
        words = frozenset(word for name in identifiers for word in name_words(name))
        return cls(tuple(text[-MAX_CHARS:] for text in texts[-LATEST:]), words)

    @cached_property
    def _lower(self) -> str:
        return "\n".join(self.texts).lower()

    @cached_property
    def numbers(self) -> tuple[str, ...]:
        """Numbers as SQL writes them, said in figures or in words."""
        return _first(self._figures)

    @cached_property
    def _figures(self) -> list[str]:
        found = [m.replace(",", "") for text in self.texts for m in _NUMBER.findall(text)]
        return found + [str(COUNTED[word]) for word in re.findall(r"[a-z]+", self._lower) if word in COUNTED]

    @cached_property
    def grouped(self) -> str | None:
        """`country` of `revenue by country`, singular; None where a list is sorted by it, or cut after it."""
        found = _GROUPED.search(self.texts[-1].lower()) if self.texts and not self.limit else None
        return singular(found[1]) if found and found[1] not in STOP_WORDS else None

    @cached_property
    def asked(self) -> str | None:
        """`artist` of `which artist has ...`, singular."""
        found = _ASKED.search(self.texts[-1].lower()) if self.texts else None
        return singular(found[1]) if found and found[1] not in STOP_WORDS else None

    @cached_property
    def measures(self) -> frozenset[str]:
        """Words of the columns that the comparison is about; empty where any will do."""
        words = re.findall(r"[a-z]+", self.texts[-1].lower()) if self.texts else []
        return frozenset(singular(part) for word in words for part in MEASURES.get(word, ()))

    @cached_property
    def limit(self) -> str | None:
        """How many rows `the top five` or `the 3 cheapest` are."""
        found = _TOP.search(self.texts[-1].lower()) if self.texts else None
        if found is None:
            return None
        number = found["after"] or found["before"]
        return str(COUNTED.get(number, number))

    @cached_property
    def figures(self) -> tuple[str, ...]:
        """Numbers without the limit: what a column may be compared with."""
        again = sum(number == self.limit for number in self._figures) > 1
        return tuple(number for number in self.numbers if number != self.limit or again)

    @cached_property
    def dates(self) -> tuple[str, ...]:
        """`2024-05-01`"""
        return _first(_DATE.findall(self._lower))

    @cached_property
    def months(self) -> tuple[str, ...]:
        """`2024-05`, also for `May 2024`."""
        named = [f"{year}-{MONTHS.index(name) + 1:02}" for name, year in _NAMED_MONTH.findall(self._lower)]
        return _first(_MONTH.findall(self._lower) + named)

    @cached_property
    def years(self) -> tuple[str, ...]:
        return _first(_YEAR.findall(self._lower))

    @cached_property
    def cues(self) -> frozenset[str]:
        """The kinds of conditions that the words ask for: keys of `english.CUES`."""
        return frozenset(cue for cue, pattern in CUES.items() if re.search(pattern, self._lower))

    @cached_property
    def parts(self) -> tuple[str, ...]:
        """What a text may be asked to contain: every word, and every name."""
        words = [m.group() for text in self.texts for m in WORD.finditer(text) if m.group()[0].isalnum()]
        cased = [form for word in words for form in (word, word.lower(), word[:1].upper() + word[1:])]
        return tuple(dict.fromkeys([*self.names(()), *cased]))[:MAX_NAMES]

    def names(self, known: Iterable[str]) -> list[str]:
        """What may be the name of something: quoted text, and runs of words that begin and end with neither a
        word of the schema nor one that every question has. Where `known` names are said already, only those
        with a capital that are no part of them.
        """
        taken = [f" {name.lower()} " for name in known]
        out: dict[str, None] = {}
        for text in self.texts:
            out.update(dict.fromkeys(one or other for one, other in _QUOTED.findall(text)))
            out.update(dict.fromkeys(self._runs(text, taken)))
        return list(out)[:MAX_NAMES]

    def _runs(self, text: str, taken: Sequence[str]) -> Iterable[str]:
        found = list(WORD.finditer(text))
        good = [self._is_name(m.group()) for m in found]
        for i, first in enumerate(found):
            capital = i > 0 and first.group()[:1].isupper()
            if not good[i] or (taken and not capital):
                continue
            for j in range(i, min(len(found), i + LONGEST)):
                run = text[first.start() : found[j].end()]
                padded = f" {run.lower()} "
                if good[j] and not any(padded in name or name in padded for name in taken):
                    yield run

    def _is_name(self, word: str) -> bool:
        lower = word.lower()
        plain = lower.removesuffix("'s").removesuffix("’s")
        common = plain in STOP_WORDS or plain in COUNTED or singular(plain) in self.things
        return not common and any(map(str.isalnum, word)) and not _NUMBER.fullmatch(word)


def _first(found: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(found))[:MAX_FIGURES]


_PARTS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
"""Words of a name in a schema: `OrderLine`, `order_lines`."""
_PLURALS = (
    ("ies", "y"),
    ("sses", "ss"),
    ("xes", "x"),
    ("ches", "ch"),
    ("shes", "sh"),
    ("ss", "ss"),
    ("s", ""),
)


def singular(word: str) -> str:
    """The word in lower case without the ending of an English plural."""
    word = word.lower()
    for ending, instead in _PLURALS:
        if word.endswith(ending) and len(word) > len(ending) + 2:
            return word.removesuffix(ending) + instead
    return word


def name_words(name: str) -> set[str]:
    """The words of a name in a schema, singular."""
    return {singular(part) for part in _PARTS.findall(name)}
