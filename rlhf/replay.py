"""What the base does well is rehearsed while something new is learnt (Robins, 1995), so that it stays.

Beside every batch the trainer sees a few rows of other work and is held to the base's own distribution on
their answers: the Kullback-Leibler divergence from the base (the adapter off) to the model, in nats a token.
Rehearsal by the base's distribution keeps more than by the answers alone (Li and Hoiem, 2016).
"""

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from trl.trainer.utils import use_adapter

from rlhf.answers import IGNORED, marked
from rlhf.preference import kept_rows
from rlhf.recipe import Replay
from rlhf.shapes import SftRow, read_shape

Sample = tuple[list[int], list[int]]
"""Tokens, and the labels of those that the assistant says."""


class Rehearsal:
    """Rows to rehearse. Those of a step depend on seed and step alone: a resumed run sees the same."""

    def __init__(self, plan: Replay, samples: Sequence[Sample], seed: int, pad: int) -> None:
        self.plan, self.samples, self.seed, self.pad = plan, list(samples), seed, pad

    def batch(self, step: int) -> list[Sample]:
        """The rows beside a step."""
        drawn = random.Random(f"{self.seed}/{step}")
        return drawn.sample(self.samples, min(self.plan.batch, len(self.samples)))

    def loss(self, model: Any, step: int, device: Any) -> torch.Tensor:
        """Mean divergence over the answers' tokens; the reference is the same model with the adapter off."""
        batch = self.batch(step)
        width = max(len(tokens) for tokens, _ in batch)
        # Padded on the left, answers end at the last column: logits are computed from the first answer on.
        keep = max(len(labels) - first(labels) for _, labels in batch) + 1
        ids = torch.tensor([[self.pad] * (width - len(t)) + t for t, _ in batch], device=device)
        mask = torch.tensor([[0] * (width - len(t)) + [1] * len(t) for t, _ in batch], device=device)
        labels = torch.tensor([[IGNORED] * (width - len(one)) + one for _, one in batch], device=device)
        given = {"input_ids": ids, "attention_mask": mask, "use_cache": False, "logits_to_keep": keep}
        with torch.no_grad(), use_adapter(model, adapter_name="ref" if "ref" in model.peft_config else None):
            reference = model(**given).logits[:, :-1].float().log_softmax(-1)
        now = model(**given).logits[:, :-1].float().log_softmax(-1)
        divergence = (reference.exp() * (reference - now)).sum(-1)
        counted = labels[:, 1 - keep :] != IGNORED
        found: torch.Tensor = (divergence * counted).sum() / counted.sum()
        return found


class Rehearsing:
    """Mixed into a trainer of TRL: adds the rehearsal to the loss of every training step."""

    rehearsal: Rehearsal | None = None

    def compute_loss(self, model: Any, inputs: Any, *given: Any, **named: Any) -> Any:
        """The trainer's own loss and the rehearsal's."""
        trainer: Any = self
        found = super().compute_loss(model, inputs, *given, **named)  # type: ignore[misc]  # the trainer's
        if self.rehearsal is None or not trainer.model.training:
            return found
        unwrapped = trainer.accelerator.unwrap_model(trainer.model)
        added = self.rehearsal.loss(unwrapped, int(trainer.state.global_step), trainer.accelerator.device)
        trainer._metrics["train"]["rehearsal"].append(added.item())
        share = self.rehearsal.plan.weight * added
        if trainer.model_accepts_loss_kwargs and named.get("num_items_in_batch") is not None:
            # Such a loss is a part of its step's, and is added up: so is the rehearsal beside every part.
            share = share / trainer.current_gradient_accumulation_steps
        return (found[0] + share, found[1]) if isinstance(found, tuple) else found + share


def rehearsal(plan: Replay, tokenizer: Any, seed: int, max_tokens: int) -> Rehearsal | None:
    """The rows that a recipe names: the starter's own work, or a file of rows of SFT. BadRecords."""
    if plan.rows == "none" or not plan.weight:
        return None
    if plan.rows == "starter":
        rows = kept_rows(plan.count, seed)
    else:
        rows = [row.plain() for row in read_shape(Path(plan.rows), SftRow)]
    found = [marked(tokenizer, row) for row in rows]
    samples = [one for one in found if one is not None and len(one[0]) <= max_tokens]
    return Rehearsal(plan, samples, seed, int(tokenizer.pad_token_id or 0)) if samples else None


def first(labels: Sequence[int]) -> int:
    """Where the first answer begins."""
    return next(at for at, label in enumerate(labels) if label != IGNORED)
