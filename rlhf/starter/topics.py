"""What people look for: noun phrases, plain questions and lines of code.

The vocabulary is that of offices, shops, clinics, schools and software teams, mixed with words and names
from the corpora and with nonsense, so that a query is always something to copy and never something to
remember.
"""

import random
from collections.abc import Callable

from rlhf.starter.phrases import expand, plural
from rlhf.starter.wording import wording
from rlhf.starter.words import Words, any_word, identifier, nonsense

LISTS = wording("topics")
THINGS: list[str] = LISTS["things"]
ASPECTS: list[str] = LISTS["aspects"]
MODIFIERS: list[str] = LISTS["modifiers"]
GROUPS: list[str] = LISTS["groups"]
VERBS: list[str] = LISTS["verbs"]
TIMES: list[str] = LISTS["times"]
UNITS: list[str] = LISTS["units"]
QUESTIONS: list[str] = LISTS["questions"]


def topic(rng: random.Random, words: Words) -> str:
    """A noun phrase: `parental leave rules`, `Milpitas`, `zuvo heating`."""
    roll = rng.random()
    thing = rng.choice(THINGS)
    if roll < 0.2:
        return thing
    if roll < 0.36:
        return f"{thing} {rng.choice(ASPECTS)}"
    if roll < 0.48:
        return f"{rng.choice(MODIFIERS)} {thing}" + (f" {rng.choice(ASPECTS)}" if rng.random() < 0.3 else "")
    if roll < 0.62:
        return f"{any_word(rng, words)} {rng.choice((thing, any_word(rng, words), rng.choice(ASPECTS)))}"
    if roll < 0.7:
        return words.pick(rng, rng.choice(("person", "city", "country", "title", "group")))
    if roll < 0.76:
        return (
            f"{thing} for {rng.choice((rng.choice(GROUPS), any_word(rng, words), words.pick(rng, 'city')))}"
        )
    if roll < 0.82:
        return f"{thing} and {rng.choice((rng.choice(THINGS), any_word(rng, words)))}"
    if roll < 0.88:
        ask = rng.choice(("how to", "when to", "where to"))
        return f"{ask} {rng.choice(VERBS)} {rng.choice(('a', 'the', 'my'))} {thing}"
    if roll < 0.93:
        return words.pick(rng, "column").replace("_", " ") + rng.choice(("", f" of {thing}"))
    if roll < 0.97:
        return " ".join(any_word(rng, words) for _ in range(rng.randint(2, 4)))
    return rng.choice((nonsense(rng), identifier(rng, words), thing.title(), nonsense(rng).upper()))


def measured(rng: random.Random, words: Words) -> str:
    """What a chart is about: `sales by month`, `average rent per city`, or any topic."""
    if rng.random() < 0.3:
        return topic(rng, words)
    noun = rng.choice(
        (plural(rng.choice(THINGS)), "sales", "revenue", f"{any_word(rng, words)} {rng.choice(THINGS)}")
    )
    if rng.random() < 0.25:
        noun = f"{rng.choice(('number of', 'average', 'total', 'monthly'))} {noun}"
    by = rng.choice(("month", "year", "country", "city", rng.choice(THINGS), any_word(rng, words), "quarter"))
    return f"{noun} {rng.choice(('by', 'per', 'by', 'over', 'for each'))} {by}"


def short_topic(rng: random.Random, words: Words) -> str:
    roll = rng.random()
    if roll < 0.5:
        return rng.choice(THINGS)
    if roll < 0.75:
        return f"{rng.choice((rng.choice(THINGS), any_word(rng, words)))} {rng.choice(ASPECTS)}"
    if roll < 0.9:
        return f"{rng.choice((rng.choice(MODIFIERS), any_word(rng, words)))} {rng.choice(THINGS)}"
    return any_word(rng, words)


def asked(rng: random.Random, words: Words, template: str) -> str:
    """One of the question templates, filled; no final mark."""
    text = expand(rng, template)
    fills: dict[str, Callable[[], str]] = {
        "{topic}": lambda: short_topic(rng, words),
        "{thing}": lambda: rng.choice(THINGS),
        "{group}": lambda: rng.choice(GROUPS),
        "{verb}": lambda: rng.choice(VERBS),
        "{time}": lambda: rng.choice(TIMES),
        "{unit}": lambda: rng.choice(UNITS),
    }
    for slot, choose in fills.items():
        while slot in text:
            text = text.replace(slot, choose(), 1)
    return text


def question(rng: random.Random, words: Words) -> str:
    """A plain question as someone types it."""
    roll = rng.random()
    if roll < 0.16:
        text = words.pick(rng, "question")
    elif roll < 0.28:
        text = words.pick(rng, "said")
    else:
        text = asked(rng, words, rng.choice(QUESTIONS))
        text = text[:1].upper() + text[1:] if rng.random() < 0.6 else text
        text += "?" if rng.random() < 0.75 else ""
    return text.strip()


def code(rng: random.Random, words: Words) -> str:
    """A line of Python that needs no escaping beyond JSON's."""
    a, b, c = rng.randint(1, 99), rng.randint(1, 999), rng.randint(2, 9)
    w = any_word(rng, words)
    return rng.choice(
        (
            f"print({a} * {b})",
            f"{a} + {b}",
            f"{b} / {c}",
            f"{c} ** {a}",
            f"{a} % {c}",
            f"sum(range({b}))",
            f"len('{w}')",
            f"print('{w}'.upper())",
            f"print(sorted([{a}, {b}, {c}]))",
            f"max({a}, {b}, {c})",
            f"round({b} / {a}, {c})",
            f"'{w}'[::-1]",
            f"[x * {c} for x in range({a})]",
            f"import math; print(math.sqrt({b}))",
            f"import random; print(random.randint({c}, {b}))",
            f"{w} = {b}; print({w} - {a})",
            f"abs({c} - {b})",
            f"print('{w} ' * {c})",
            f"{{'{w}': {a}}}",
            f"bin({b})",
            f"set([{a}, {c}, {a}])",
            f"print({plural('x')}.mean())",
        )
    )
