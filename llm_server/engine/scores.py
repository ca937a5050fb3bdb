"""Log probabilities of a token and of the likeliest ones beside it."""

import numpy as np

from llm_server.engine.backend import Backend
from llm_server.engine.sequence import Sequence, TokenScore

SCORED_TOKENS = 64
"""Of a prompt in a step: each has a row of logits as long as the vocabulary."""


def token_score(backend: Backend, row: int, token: int, count: int) -> TokenScore:
    """Log-softmax over the vocabulary of an output row, before temperature and grammar; `count` others."""
    logits = backend.logits(row).astype(np.float64)
    logits -= logits.max()
    logits -= np.log(np.exp(logits).sum())
    best = np.argpartition(-logits, min(count, logits.size - 1))[:count] if count else np.empty(0, np.int64)
    ordered = sorted((int(i) for i in best), key=lambda i: -logits[i])
    piece = backend.vocabulary.piece
    top = tuple((i, piece(i), float(logits[i])) for i in ordered)
    return TokenScore(token, piece(token), float(logits[token]), top)


def score_prompt(backend: Backend, sequence: Sequence, row: int, count: int) -> None:
    """Score the prompt's tokens after the `count` that have just been computed, in the rows from `row` on.
    What was scored before the sequence was sent back to the queue is left as it is.
    """
    first = sequence.computed - count
    for place in range(first + 1, min(sequence.computed, sequence.prompt_length - 1) + 1):
        if place - 1 == len(sequence.prompt_scores):
            token = sequence.tokens[place]
            score = token_score(backend, row + place - 1 - first, token, sequence.scoring or 0)
            sequence.prompt_scores.append(score)
