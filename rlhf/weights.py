"""Rows that count for more or less than others: the loss is the weighted mean of the rows' losses.

Weights are divided by their mean over all rows, so that a batch of light rows is light: divided by those of
its own batch a row that is alone in one would always count whole. TRL has no weights of rows. Where all rows
weigh the same its own loss is used as it is.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch

from rlhf.pairs import Used

WEIGHT = "weight"
Batch = Mapping[str, Any]


def weighed(used: Used) -> list[dict[str, Any]]:
    """The rows to train on, with weights whose mean is one; without any where all are the same."""
    weights = [float(text.get(WEIGHT, 1.0)) for text in used.texts]
    if len(set(weights)) < 2:
        return unweighed(used)
    mean = sum(weights) / len(weights)
    return [{**text, WEIGHT: one / mean} for text, one in zip(used.texts, weights, strict=True)]


def unweighed(used: Used) -> list[dict[str, Any]]:
    """The rows without their weights: held-out rows are examined alike."""
    return [{name: value for name, value in text.items() if name != WEIGHT} for text in used.texts]


class Collated:
    """A collator that keeps the weights of its rows."""

    def __init__(self, collate: Callable[[list[Any]], dict[str, Any]]) -> None:
        self.collate = collate

    def __call__(self, rows: list[Any]) -> dict[str, Any]:
        """The batch, with `weight` [rows] where there is one."""
        weights = [row[WEIGHT] for row in rows if WEIGHT in row]
        batch = self.collate([{name: row[name] for name in row if name != WEIGHT} for row in rows])
        return {**batch, WEIGHT: torch.tensor(weights)} if weights else batch


class Keeping:
    """Mixed into a trainer of TRL: batches have the weights of their rows."""

    def keep_weights(self) -> None:
        """Let weights reach the loss; to be called once, on a trainer that is made."""
        trainer: Any = self
        trainer.data_collator = Collated(trainer.data_collator)
        trainer._set_signature_columns_if_needed()
        trainer._signature_columns = [*trainer._signature_columns, WEIGHT]


class Weighing(Keeping):
    """The same, and weights the loss: the batch is computed in parts of one weight each, by the trainer's own
    loss. There are seldom more than two.
    """

    def compute_loss(self, model: Any, inputs: Any, *given: Any, **named: Any) -> Any:
        """The trainer's own loss, of each part as it weighs."""
        weights = inputs.pop(WEIGHT, None)
        whole: Callable[..., Any] = super().compute_loss  # type: ignore[misc]  # the trainer's
        if weights is None:
            return whole(model, inputs, *given, **named)
        found: Any = 0.0
        for weight, rows in parts(weights):
            part = {name: self.part(name, value, rows, len(weights)) for name, value in inputs.items()}
            share = self.share(inputs, part, len(rows) / len(weights), given, named)
            found = found + weight * share * whole(model, part, *given, **named)
        return found

    def part(self, name: str, value: Any, rows: list[int], count: int) -> Any:
        """Of one entry of a batch of `count` rows, what is of these rows."""
        return value[rows] if isinstance(value, torch.Tensor) else value

    def share(
        self, whole: Batch, part: Batch, rows: float, given: tuple[Any, ...], named: dict[str, Any]
    ) -> Any:
        """Of the batch's mean, how much is the part's; `rows` is its share of the rows."""
        return rows


def parts(weights: torch.Tensor) -> Iterator[tuple[float, list[int]]]:
    """(weight, places of the rows that weigh so)."""
    found: dict[float, list[int]] = {}
    for at, weight in enumerate(weights.tolist()):
        found.setdefault(weight, []).append(at)
    yield from sorted(found.items())
