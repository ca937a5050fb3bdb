"""Sentences as handbooks have them, each with the questions that it answers.

A fact is (sentence, questions); slots are shared between both, so that the answer is found by its words.
"""

import random
from dataclasses import dataclass

from rlhf.starter.phrases import expand
from rlhf.starter.topics import GROUPS, MODIFIERS, THINGS, UNITS, VERBS
from rlhf.starter.wording import wording
from rlhf.starter.words import Words, any_word

LISTS = wording("facts")


@dataclass(frozen=True)
class Fact:
    """A sentence and one question about it."""

    sentence: str
    question: str
    thing: str


class FactMaker:
    """Draws facts and filler sentences; words are half real topics and half anything."""

    def __init__(self, rng: random.Random, words: Words) -> None:
        self.rng, self.words = rng, words

    def noun(self) -> str:
        roll = self.rng.random()
        if roll < 0.45:
            return self.rng.choice(THINGS)
        if roll < 0.65:
            before = self.rng.choice((self.rng.choice(MODIFIERS), any_word(self.rng, self.words)))
            return f"{before} {self.rng.choice(THINGS)}"
        if roll < 0.85:
            return f"{any_word(self.rng, self.words)} {any_word(self.rng, self.words)}"
        return any_word(self.rng, self.words)

    def slots(self, thing: str = "") -> dict[str, str]:
        rng = self.rng
        group = rng.choice(GROUPS)
        end = rng.choice(("org", "com", "gov", "edu"))
        mail = f"{any_word(rng, self.words)}@{any_word(rng, self.words)}.{end}"
        return {
            "t": thing or self.noun(),
            "u": self.noun(),
            "x": self.noun(),
            "y": self.noun(),
            "word": any_word(rng, self.words),
            "word2": any_word(rng, self.words),
            "group": group,
            "Group": group[0].upper() + group[1:],
            "n": str(rng.choice((rng.randint(2, 30), rng.randint(2, 12), rng.randint(10, 900)))),
            "unit": rng.choice(UNITS),
            "role": rng.choice(LISTS["roles"]),
            "place": rng.choice(LISTS["offices"]),
            "verb": rng.choice(VERBS),
            "mail": mail,
            "year": str(rng.randint(1990, 2026)),
        }

    def write(self, template: str, slots: dict[str, str]) -> str:
        text = expand(self.rng, template)
        for name, filled in slots.items():
            text = text.replace("{" + name + "}", filled)
        return text

    def fact(self, thing: str = "") -> Fact:
        frame = self.rng.choice(LISTS["frames"])
        slots = self.slots(thing)
        said = self.write(frame["says"], slots)
        asked = self.write(self.rng.choice(frame["answers"]), slots)
        return Fact(said[0].upper() + said[1:], asked, slots["t"])

    def filler(self) -> str:
        said = self.write(self.rng.choice(LISTS["fillers"]), self.slots())
        return said[0].upper() + said[1:]
