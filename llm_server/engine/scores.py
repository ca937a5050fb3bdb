"""Log probabilities of a token and of the likeliest ones beside it."""

import numpy as np

from llm_server.engine.backend import Backend
from llm_server.engine.sequence import TokenScore


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
