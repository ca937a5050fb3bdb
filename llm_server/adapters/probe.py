"""Does an adapter change what the model says, and does it leave the model able to speak?

The same few tokens go through the base alone and through the base with the adapter. Adapters that silently
do nothing are a known class of failure elsewhere (vllm-project/vllm#34186, #55193).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from llm_server.errors import AdapterRefused

TEXT = (
    "What is the capital of France? The store sold 24 bicycles in March, and every employee may take three "
    "days of leave. SELECT name, price FROM products WHERE stock > 10; Thank you, that is all I need."
)
TOKENS = 64
NOTHING = 1e-4
"""Largest change of any logit below which an adapter does nothing."""
RUIN = 6.0
"""Mean KL divergence in nats, base to adapted, from which on an adapter destroys the output. On the starter a
random adapter that drowns the base measures 8, one as large as the weights 2.5, trained ones well under 1."""


@dataclass(frozen=True, slots=True)
class Effect:
    """What the probe saw."""

    change: float
    """Largest change of a logit."""
    divergence: float
    """Mean over positions of KL(base || adapted), in nats."""


def measure(base: NDArray[np.float32], adapted: NDArray[np.float32]) -> Effect:
    """Compare logits, positions x vocabulary each. AdapterRefused: not_finite, no_effect, destroys_output."""
    if not np.isfinite(adapted).all():
        raise AdapterRefused("The adapter is refused: its output is not finite.", code="not_finite")
    effect = Effect(float(np.abs(adapted - base).max()), divergence(base, adapted))
    if effect.change < NOTHING:
        raise AdapterRefused(
            "The adapter is refused: it changes nothing. Is it trained, and for this base?", code="no_effect"
        )
    if effect.divergence > RUIN:
        raise AdapterRefused(
            f"The adapter is refused: it destroys the output ({effect.divergence:.0f} nats from the base a "
            f"token; up to {RUIN:.0f} are let through).",
            code="destroys_output",
        )
    return effect


def divergence(base: NDArray[np.float32], adapted: NDArray[np.float32]) -> float:
    """Mean over positions of KL(base || adapted), in nats; logits, positions x vocabulary each."""
    p, q = _log_softmax(base), _log_softmax(adapted)
    return float((np.exp(p) * (p - q)).sum(axis=1).mean())


def _log_softmax(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True)))
