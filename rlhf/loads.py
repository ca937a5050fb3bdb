"""How long the rows of a training are: what a batch is at its largest."""

from dataclasses import dataclass
from typing import Any

from rlhf.pairs import Used, tokens
from rlhf.recipe import Trainable
from rlhf.replay import first, rehearsal

SEQUENCES = {"dpo": 2, "reward": 2, "embedding": 3}
"""That are computed of one row; of other methods' rows one."""


@dataclass(frozen=True)
class Load:
    """What one row is: so many sequences, each of at most so many tokens."""

    sequences: int
    tokens: int
    rehearsed: int = 0
    """Tokens of all rows that are rehearsed beside a batch."""
    rehearsed_answer: int = 0
    """Those of them whose distribution over the vocabulary is compared."""
    goes_on: bool = False
    """From an adapter, of which a copy is the reference."""


def load_of(recipe: Trainable, used: Used, tokenizer: Any, goes_on: bool) -> Load:
    """The longest row stands for all: sooner or later a batch has nothing but such."""
    longest = max(_longest(text, tokenizer) for text in used.texts)
    beside = answer = 0
    if plan := getattr(recipe, "replay", None):
        found = rehearsal(plan, tokenizer, recipe.seed, recipe.train.max_tokens)
        samples = found.samples if found else []
        beside = plan.batch * max((len(ids) for ids, _ in samples), default=0)
        answer = plan.batch * max((len(labels) - first(labels) for _, labels in samples), default=0)
    return Load(SEQUENCES.get(recipe.method, 1), longest, beside, answer, goes_on)


def _longest(text: dict[str, Any], tokenizer: Any) -> int:
    """Tokens of a row's longest sequence, whichever columns its method writes."""
    ids = [len(value) for name, value in text.items() if name.endswith("_ids")]
    if ids:
        return max(ids)
    if "prompt" in text:
        answers = [text[name] for name in ("chosen", "rejected", "completion") if name in text]
        return max(tokens(tokenizer, text["prompt"] + answer) for answer in answers)
    return max(tokens(tokenizer, value) + 2 for value in text.values() if isinstance(value, str))
