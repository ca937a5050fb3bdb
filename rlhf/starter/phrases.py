"""A small grammar for wording: `(a|b)` chooses, `[a]` may be left out, `{slot}` is filled.

The noise that people add (politeness, lower case, a slipped key) goes around the filled slots, never into
them, because what fills a slot is what the model has to copy.
"""

import random
import re
from collections.abc import Mapping

from rlhf.starter.wording import wording

CHOICE = re.compile(r"\(([^()\[\]]*)\)|\[([^()\[\]]*)\]")
SLOT = re.compile(r"\{(\w+)\}")


def expand(rng: random.Random, text: str) -> str:
    """Choose until no bracket is left."""
    while found := CHOICE.search(text):
        if found[1] is not None:
            chosen = rng.choice(found[1].split("|"))
        else:
            chosen = rng.choice(found[2].split("|")) if rng.random() < 0.5 else ""
        text = text[: found.start()] + chosen + text[found.end() :]
    return re.sub(r" ('(?:s|d|m|re|ll)\b|,)", r"\1", re.sub(r"  +", " ", text)).strip()


def slipped(rng: random.Random, word: str) -> str:
    """The word with one slip of the hand."""
    if len(word) < 4:
        return word
    i = rng.randrange(1, len(word) - 1)
    return rng.choice(
        (word[:i] + word[i + 1 :], word[:i] + word[i + 1] + word[i] + word[i + 2 :], word[:i] + word[i:])
    )


def fill(rng: random.Random, text: str, slots: Mapping[str, str], slip: float = 0.03) -> str:
    """Fill the slots of an expanded phrase; words around them slip now and then."""
    out = []
    for i, part in enumerate(SLOT.split(text)):
        if i % 2:
            out.append(slots[part])
        else:
            words = part.split(" ")
            out.append(" ".join(slipped(rng, w) if w.isalpha() and rng.random() < slip else w for w in words))
    return "".join(out)


def polite(rng: random.Random, phrase: str) -> str:
    """An imperative phrase with what people put around it; slots are still open."""
    if rng.random() < 0.5:
        phrase = rng.choice(wording("manners")["before"]) + phrase
    if rng.random() < 0.25:
        phrase += rng.choice(wording("manners")["after"])
    return phrase


def cased(rng: random.Random, phrase: str) -> str:
    """First letter and final mark as people write them; slots are still open."""
    if rng.random() < 0.6 and not phrase.startswith("{"):
        phrase = phrase[:1].upper() + phrase[1:]
    asks = re.match(r"(?i)(can|could|would|will|what|which|who|where|when|how|is|are|do|does|did)\b", phrase)
    end = (
        rng.choice(("?", "?", ""))
        if asks
        else rng.choice((".", "", "", "!") if rng.random() < 0.9 else ("...", " :)"))
    )
    return phrase + end


def plural(word: str) -> str:
    """English plural, well enough for nouns of schemas."""
    if re.search(r"(s|x|z|ch|sh)$", word):
        return word + "es"
    if re.search(r"[^aeiou]y$", word):
        return word[:-1] + "ies"
    return word + "s"
