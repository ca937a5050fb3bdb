"""How likely a model finds answers, and how far an adapter has moved away from its base.

Perplexity is the exponential of the mean negative log-likelihood of an answer's tokens, the end of the turn
among them. The divergence is KL(adapter || base) of the next token, in nats, averaged over the same
positions: what a KL budget is spent on (Ziegler et al. 2019, arXiv 1909.08593).
"""

from collections.abc import Mapping, Sequence
from math import exp
from pathlib import Path
from typing import Any

from rlhf.pairs import Row
from rlhf.parity import adapted, tokenised

BASE = "base"
Figures = dict[str, dict[str, float]]
"""Side to `perplexity`, `kl` and `tokens`."""


def likelihoods(base: Path, adapters: Mapping[str, Path], rows: Sequence[Row], max_tokens: int) -> Figures:
    """Figures of the base and of each adapter on the preferred answers of rows; longer rows are left out.

    Raises:
        DeployError: an adapter does not go on the base.
    """
    found: Figures = {}
    for side, folder in adapters.items():
        tokenizer, model = adapted(base, folder)
        texts = [text for row in rows if len((text := tokenised(tokenizer, row))[0]) <= max_tokens]
        measured = [_measured(model, tokens, first) for tokens, first in texts]
        count = sum(one["tokens"] for one in measured)
        if not count:
            return {}
        total = {name: sum(one[name] for one in measured) / count for name in ("base", "adapter", "kl")}
        found[BASE] = {"perplexity": round(exp(-total["base"]), 4), "kl": 0.0, "tokens": count}
        found[side] = {
            "perplexity": round(exp(-total["adapter"]), 4),
            "kl": round(total["kl"], 5),
            "tokens": count,
        }
    return found


def _measured(model: Any, tokens: list[int], first: int) -> dict[str, float]:
    """Sums over the answer's tokens, which begin at `first`: log-likelihoods, divergence; their number."""
    import torch

    ids, wanted = torch.tensor([tokens]), torch.tensor(tokens[first:])
    with torch.no_grad():
        adapter = model(ids).logits[0, first - 1 : -1].float().log_softmax(-1)
        with model.disable_adapter():
            base = model(ids).logits[0, first - 1 : -1].float().log_softmax(-1)
    at = torch.arange(len(wanted))
    return {
        "base": float(base[at, wanted].sum()),
        "adapter": float(adapter[at, wanted].sum()),
        "kl": float((adapter.exp() * (adapter - base)).sum()),
        "tokens": len(wanted),
    }
