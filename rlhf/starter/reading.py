"""Several questions about the same passages, in one conversation.

The form is a reading exercise and not an agent's turn (no tool is listed), because what it teaches is the
costly part: to find the sentence that a question means among many. A search result is long and its answer
short; asking four or five times about one text gives as many answers to learn from for the same reading.
"""

import random

from rlhf.starter.passages import NOTHING, Pair, PassageMaker, overlap, words_of
from rlhf.starter.sample import Sample, says, system, user
from rlhf.starter.template import Message

ORDERS = (
    "Quote the sentence that answers and cite its passage.",
    "Answer each question with the sentence that holds the answer.",
    "You answer from passages. Quote and cite.",
)
MOST = 40
"""Tries at questions that have one best sentence."""


class ReadingMaker:
    """Draws passages and questions of which each has exactly one best sentence."""

    def __init__(self, rng: random.Random, passages: PassageMaker) -> None:
        self.rng, self.passages = rng, passages

    def pairs(self, count: int) -> tuple[list[Pair], list[str]]:
        """(answered questions, sentences that answer none of them)."""
        golds: list[Pair] = []
        others: list[str] = []
        for _ in range(MOST):
            if len(golds) == count:
                break
            gold, beside = self.passages.gold(2)
            wanted = overlap(set(words_of(gold.question)), gold.sentence)
            said = [g.sentence for g in golds] + others
            if not wanted or any(overlap(set(words_of(gold.question)), s) >= wanted for s in said):
                continue
            if any(better(gold.sentence, g) for g in golds):
                continue
            golds.append(gold)
            others += [s for s in beside[:2] if not any(better(s, g) for g in golds)]
        return golds, others

    def sample(self, short: bool = False) -> Sample:
        """Up to six questions, one in twelve of them with no answer in the text."""
        rng = self.rng
        count = rng.choice((1, 2, 2, 3)) if short else rng.choices((1, 2, 3, 5), (10, 20, 25, 45))[0]
        size = rng.randint(40, 120) if short else rng.choice((60, 120, 200, 300, 550))
        golds, others = self.pairs(rng.randint(2, 4) if short else rng.randint(3, 6))
        ranks = [rng.randrange(count) for _ in golds]
        text = self.passages.blocks(golds, ranks, others, count, size)
        order = list(zip(golds, ranks, strict=True))
        rng.shuffle(order)
        messages: list[Message] = [system(rng.choice(ORDERS))] if rng.random() < 0.7 else []
        for at, (gold, rank) in enumerate(order):
            asked = self.passages.asked(gold)
            messages.append(user(f"{text}\n\n{asked}" if at == 0 else asked))
            messages.append(says(f'The documents say: "{gold.sentence}" [{rank + 1}]'))
            if rng.random() < 0.08:
                astray = self.passages.gold(1)[0]
                if not overlap(set(words_of(astray.question)), text):
                    messages += [user(self.passages.asked(astray)), says(NOTHING[0])]
        return Sample("reading", messages)


def better(sentence: str, gold: Pair) -> bool:
    """True where another sentence fits a question as well as its own."""
    asked = set(words_of(gold.question))
    return overlap(asked, sentence) >= overlap(asked, gold.sentence)
