"""The same rows as somebody else might have typed them: case, typos, words left out, other words.

Only what is asked is changed, and of that the first paragraph: passages and code that stand below a question
stay as they are, and so do answers and labels. Numbers and words that turn a sentence around are never
touched. What a change makes depends on the row and the seed alone. Rows that are held out are not looked at
but to leave out what has become nearly one of them.
"""

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import Literal

from pydantic import Field

from rlhf.data.asking import Request, quoted, seed_of
from rlhf.data.made import derived, without_near, without_poor
from rlhf.data.step import Means, Sides, SideStep
from rlhf.data.texts import asked, named
from rlhf.records import PreferenceRow
from rlhf.shapes import Answered, AnyRow, LabelRow, TripletRow

Way = Literal["casing", "typos", "drop", "paraphrase"]
KEYBOARD = ("qwertyuiop", "asdfghjkl", "zxcvbnm")
"""Rows of letters (ISO/IEC 9995, QWERTY); a finger hits the one beside, or the one above."""
TURNING = frozenset(
    {"no", "not", "never", "none", "nor", "neither", "without", "unless", "except", "cannot"}
    | {"nicht", "kein", "keine", "nie", "ohne", "ne", "pas", "jamais", "sans"}
)
FEW = 3
"""Words that are left at least."""
_WORD = re.compile(r"\S+")
_NUMBER = re.compile(r"\d+")
SYSTEM = (
    "You say the same in other words. Keep the meaning, every number and every name; do not answer. "
    "Reply with JSON: text."
)


class Augment(SideStep):
    """Rows to train on once more, with what is asked typed another way; answers and labels stay."""

    NAME = "augment"
    how: list[Way] = Field(default=["casing", "typos", "drop"], min_length=1)
    """One of these for each new row, in turn; `paraphrase` asks a model of the server."""
    each: int = Field(default=1, ge=1, le=10)
    """New rows for each row."""
    share: float = Field(default=0.1, gt=0, le=0.5)
    """Of the words, how many are mistyped or left out; one at least."""
    weight: float = Field(default=0.5, gt=0, le=10)
    """Of a new row in that of its own, where rows are weighed."""
    model: str = Field(default="", max_length=200)
    """For `paraphrase`: its id in the server; empty: the one that answers chats."""

    def apply(self, sides: Sides, means: Means, counts: Counter[str]) -> tuple[Sides, str]:
        """The rows to train on and the new ones; what is held out is as it was."""
        counts["rows"] += len(sides.train)
        first = [
            (row, number, self.how[(at + number - 1) % len(self.how)])
            for at, row in enumerate(sorted(sides.train, key=lambda row: row.digest()))
            for number in range(1, self.each + 1)
        ]
        texts, by = self._changed(first, means)
        made: list[AnyRow] = []
        seen = {said(row) for row in sides.train}
        for (row, number, way), text in zip(first, texts, strict=True):
            whole = None if text is None else text + said(row)[len(opening(said(row))) :]
            if whole is None or whole in seen:
                counts["unchanged"] += 1
                continue
            seen.add(whole)
            by_whom = by if way == "paraphrase" else "rules"
            made.append(derived(row, way, number, by_whom, _asking(row, whole), self.weight))
        made = without_near(without_poor(made, counts), sides.held_out, counts, "near a held-out row")
        for row in made:
            counts[row.made.step if row.made else ""] += 1
        counts["made"] += len(made)
        return Sides([*sides.train, *made], sides.held_out), by

    def _changed(
        self, wanted: Sequence[tuple[AnyRow, int, Way]], means: Means
    ) -> tuple[list[str | None], str]:
        """The opening of each anew; None where it cannot be changed. By whom, where a model was asked."""
        found: list[str | None] = []
        requests: dict[int, Request] = {}
        for at, (row, number, way) in enumerate(wanted):
            text, seed = opening(said(row)), seed_of(means.seed, named(row), number)
            if way == "paraphrase":
                requests[at] = Request(SYSTEM, quoted(text), ("text",), seed)
                found.append(None)
            else:
                found.append(BY_RULE[way](text, self.share, Random(seed)))
        if not requests:
            return found, ""
        with means.model(self.model) as model:
            answers, by = model.write(list(requests.values()), means.watch), model.name
        for at, answer in zip(requests, answers, strict=True):
            text = opening(said(wanted[at][0]))
            if answer and _same_facts(text, answer["text"]):
                found[at] = answer["text"]
        return found, by


def casing(text: str, share: float, random: Random) -> str | None:
    """All small, all capital, or as a title: another one than it has."""
    found = [one for one in (text.lower(), text.upper(), text.title()) if one != text]
    return random.choice(found) if found else None


def typos(text: str, share: float, random: Random) -> str | None:
    """Letters that a finger beside the right key writes, two that change places, or one that is left out."""
    return _some(text, share, random, lambda word: _mistyped(word, random))


def dropped(text: str, share: float, random: Random) -> str | None:
    """Words left out, none that turns the meaning around and no number."""
    words = list(_WORD.finditer(text))
    free = [at for at, word in enumerate(words) if _may_go(word.group())]
    count = min(max(1, round(len(words) * share)), len(words) - FEW, len(free))
    if count < 1:
        return None
    gone = set(random.sample(free, count))
    return " ".join(word.group() for at, word in enumerate(words) if at not in gone)


BY_RULE: Mapping[str, Callable[[str, float, Random], str | None]] = {
    "casing": casing,
    "typos": typos,
    "drop": dropped,
}


def said(row: AnyRow) -> str:
    """What is asked last: the text that is changed."""
    return next((m.content or "" for m in reversed(asked(row)) if m.role == "user"), "")


def opening(text: str) -> str:
    """Its first paragraph."""
    return text.partition("\n")[0]


def _asking(row: AnyRow, text: str) -> dict[str, object]:
    if isinstance(row, TripletRow):
        return {"query": text}
    if isinstance(row, LabelRow):
        return {"text": text}
    assert isinstance(row, Answered | PreferenceRow)
    last = max(at for at, message in enumerate(row.prompt) if message.role == "user")
    changed = [m.plain() | ({"content": text} if at == last else {}) for at, m in enumerate(row.prompt)]
    return {"prompt": changed}


def _some(text: str, share: float, random: Random, change: Callable[[str], str]) -> str | None:
    words = list(_WORD.finditer(text))
    free = [word for word in words if _may_go(word.group()) and len(word.group()) > FEW]
    if not free:
        return None
    chosen = random.sample(free, min(len(free), max(1, round(len(words) * share))))
    for word in sorted(chosen, key=lambda word: -word.start()):
        text = text[: word.start()] + change(word.group()) + text[word.end() :]
    return text


def _mistyped(word: str, random: Random) -> str:
    at = random.randrange(1, len(word) - 1)
    beside = _beside(word[at])
    way = random.choice(("beside", "swap", "leave")) if beside else random.choice(("swap", "leave"))
    if way == "beside":
        return word[:at] + random.choice(beside) + word[at + 1 :]
    if way == "swap":
        return word[:at] + word[at + 1] + word[at] + word[at + 2 :]
    return word[:at] + word[at + 1 :]


def _beside(letter: str) -> str:
    for line, keys in enumerate(KEYBOARD):
        if (at := keys.find(letter)) >= 0:
            above = KEYBOARD[line - 1][at : at + 1] if line else ""
            return keys[max(0, at - 1) : at] + keys[at + 1 : at + 2] + above
    return ""


def _may_go(word: str) -> bool:
    return bool(_bare(word)) and not _turns(word) and not _NUMBER.search(word)


def _turns(word: str) -> bool:
    """Whether a word turns a sentence around."""
    return _bare(word) in TURNING or _bare(word).endswith("n't")


def _bare(word: str) -> str:
    return word.strip(".,;:!?\"'()[]").replace("\u2019", "'").casefold()


def _same_facts(text: str, other: str) -> bool:
    """No number is lost or new, and it is turned around where the other one is."""
    same = Counter(_NUMBER.findall(text)) == Counter(_NUMBER.findall(other))
    turned = [any(map(_turns, one.split())) for one in (text, other)]
    return same and turned[0] == turned[1] and "\n" not in other
