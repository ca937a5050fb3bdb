"""How much of what: draws samples by weight, from a seed."""

import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path

from rlhf.starter import dialogues, questions
from rlhf.starter.conversations import ConversationMaker, Sources
from rlhf.starter.passages import PassageMaker, stated_pairs
from rlhf.starter.sample import Sample
from rlhf.starter.words import Words, collect, read_lines

WEIGHTS = {
    "own": 10,
    "several": 14,
    "parallel": 1,
    "talk": 9,
    "copy": 1.5,
    "dialogue": 22,
    "service": 20,
    "question": 12,
    "database": 17,
    "correction": 1,
    "route": 6,
    "passage": 5,
    "reading": 6,
    "both": 1.5,
    "long": 0.3,
}
"""Samples in a hundred or so; long kinds weigh more in tokens."""
SMALL = 0.4
"""Share of the samples that have a small prompt: more answers to learn from for the same tokens."""
SHORT = {
    "copy": 45,
    "reading": 14,
    "own": 10,
    "several": 5,
    "talk": 2,
    "service": 8,
    "question": 8,
    "database": 8,
    "route": 3,
    "passage": 5,
}
"""The first shard: mostly exercises in copying, and small prompts only."""


def split(source: Path) -> tuple[Words, Sources, Sources]:
    """(words, trained part, held-out part) of the corpora under `source`."""
    spoken = read_lines(source / "dialogues" / "train.jsonl.xz")
    tables = read_lines(source / "questions" / "wikisql-train.jsonl.xz")
    tools = json.loads((source / "dialogues" / "tools.json").read_text())
    kept = Sources(
        [r for r in spoken if not dialogues.is_held_out(r)],
        tools,
        [r for r in tables if not questions.is_held_out(r)],
    )
    held = Sources(
        [r for r in spoken if dialogues.is_held_out(r)],
        tools,
        [r for r in tables if questions.is_held_out(r)],
    )
    return collect(kept.dialogues, kept.questions), kept, held


def maker(rng: random.Random, words: Words, sources: Sources, short: bool = False) -> ConversationMaker:
    """Everything that one stream of samples needs."""
    stated = stated_pairs(list(sources.questions), random.Random(0), words)
    passages = PassageMaker(rng, words, dialogues.replies(sources.dialogues), stated)
    return ConversationMaker(rng, words, sources, passages, short)


def samples(rng: random.Random, words: Words, sources: Sources, short: bool = False) -> Iterator[Sample]:
    """An endless stream, the same for the same seed. `short`: exercises in copying and small prompts."""
    weights = SHORT if short else WEIGHTS
    small, full = (maker(rng, words, sources, short=one) for one in (True, False))
    while True:
        conversations = small if short or rng.random() < SMALL else full
        make: Callable[[], Sample] = getattr(
            conversations, rng.choices(list(weights), list(weights.values()))[0]
        )
        yield make()
