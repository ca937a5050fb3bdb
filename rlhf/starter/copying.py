"""Exercises in copying and looking up, which is most of what a call, a SELECT and a quotation are.

Several to a sample, on every kind of token: a small network learns to copy from these in a few minutes,
where the few copied words of real calls take hours.
"""

import random
from collections.abc import Callable

from rlhf.starter.sample import Sample, says, user
from rlhf.starter.template import Message
from rlhf.starter.words import Words, any_word, identifier, nonsense


class CopyMaker:
    """Draws samples of one to five exercises."""

    def __init__(self, rng: random.Random, words: Words) -> None:
        self.rng, self.words = rng, words

    def piece(self) -> str:
        """A word, a name, a number, an identifier, a column."""
        rng = self.rng
        return rng.choice(
            (
                lambda: any_word(rng, self.words),
                lambda: any_word(rng, self.words),
                lambda: nonsense(rng),
                lambda: nonsense(rng).capitalize() + any_word(rng, self.words).capitalize(),
                lambda: identifier(rng, self.words),
                lambda: str(rng.randint(1, 99999)),
                lambda: self.words.pick(rng, rng.choice(("person", "city", "country", "title", "group"))),
                lambda: self.words.pick(rng, "column"),
            )
        )()

    def phrase(self, low: int, high: int) -> str:
        return " ".join(self.piece() for _ in range(self.rng.randint(low, high)))

    def repeat(self) -> tuple[str, str]:
        text = self.phrase(1, 10)
        return f"{self.rng.choice(('Repeat', 'Say', 'Echo', 'repeat', 'copy', 'Write'))}: {text}", text

    def look_up(self) -> tuple[str, str]:
        """Pairs, then one key: the value is wanted."""
        pairs = {self.piece(): self.phrase(1, 3) for _ in range(self.rng.randint(2, 7))}
        joint = self.rng.choice((": ", " = ", " is ", " > "))
        key = self.rng.choice(list(pairs))
        return "; ".join(f"{k}{joint}{v}" for k, v in pairs.items()) + f". {key}?", pairs[key]

    def sentence(self) -> tuple[str, str]:
        """Sentences, then a few words of one: the whole sentence is wanted."""
        said = [self.phrase(3, 8).capitalize() + "." for _ in range(self.rng.randint(2, 5))]
        wanted = self.rng.choice(said)
        parts = wanted.rstrip(".").split()
        start = self.rng.randrange(len(parts))
        return f"{' '.join(said)} Which has {' '.join(parts[start : start + 2])}?", wanted

    def inside(self) -> tuple[str, str]:
        """What stands after a word, to the end."""
        before, mark, after = (
            self.phrase(1, 4),
            self.rng.choice(("about", "for", "named", "called", "on")),
            self.phrase(1, 4),
        )
        return f"{before} {mark} {after}", f"{mark} {after}"

    def sample(self) -> Sample:
        makers: list[Callable[[], tuple[str, str]]] = [self.repeat, self.look_up, self.sentence, self.inside]
        messages: list[Message] = []
        for _ in range(self.rng.randint(1, 5)):
            question, answer = self.rng.choices(makers, (45, 25, 20, 10))[0]()
            messages += [user(question), says(answer)]
        return Sample("copy", messages)
