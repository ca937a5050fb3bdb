"""Turns that need no tool: greetings, thanks, what can you do, things that no tool here can do, missing
details.
"""

import random
from collections.abc import Callable

from rlhf.starter.phrases import cased, expand
from rlhf.starter.topics import THINGS
from rlhf.starter.wording import wording
from rlhf.starter.words import Words, any_word

LISTS = wording("talk")
KINDS = (
    ("greet", "greeted", 1.0),
    ("thank", "thanked", 1.0),
    ("bye", "bade", 1.0),
    ("who", "i_am", 1.5),
    ("feel", "felt", 1.2),
    ("refuse", "refused", 3.5),
    ("unclear", "asked_back", 0.7),
)
"""What is said, what is answered, how often."""


def said(rng: random.Random, words: Words, core: str) -> str:
    """A core with its slots filled."""
    slots: dict[str, Callable[[], str]] = {
        "{city}": lambda: words.pick(rng, "city"),
        "{country}": lambda: words.pick(rng, "country"),
        "{person}": lambda: words.pick(rng, "person"),
        "{title}": lambda: words.pick(rng, "title"),
        "{group}": lambda: words.pick(rng, "group"),
        "{word}": lambda: any_word(rng, words),
        "{thing}": lambda: rng.choice(THINGS),
        "{n}": lambda: str(rng.randint(2, 2024)),
    }
    for slot, choose in slots.items():
        if slot in core:
            core = core.replace(slot, choose())
    return core


def no_tool(rng: random.Random, words: Words, kind: str = "") -> tuple[str, str]:
    """(what someone says, what the assistant answers) where no tool is needed."""
    weights = [weight if kind in ("", name) else 0.0 for name, _, weight in KINDS]
    name, answers, _ = rng.choices(KINDS, weights)[0]
    text = said(rng, words, expand(rng, rng.choice(LISTS[name])))
    if "{" not in text and rng.random() < 0.9:
        text = cased(rng, text)
    return text, expand(rng, rng.choice(LISTS[answers]))
