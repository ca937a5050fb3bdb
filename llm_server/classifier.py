"""Texts, or pairs of texts, to scores of labels: the seam."""

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Text = str | tuple[str, str]
"""One text, or two that are read together."""


@dataclass(frozen=True, slots=True)
class Scores:
    """Scores (texts, labels) before any softmax or sigmoid, and the tokens that were read for them."""

    values: NDArray[np.float32]
    tokens: int


def probabilities(values: NDArray[np.float32]) -> NDArray[np.float64]:
    """Softmax over the labels of each text; of a single label its sigmoid."""
    scores = values.astype(np.float64)
    if scores.shape[1] == 1:
        # The same as 1 / (1 + exp(-x)), which would overflow for scores far below 0.
        return np.asarray(0.5 * (1 + np.tanh(0.5 * scores)))
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


class LabelModel(Protocol):
    """One thread at a time calls it."""

    @property
    def labels(self) -> tuple[str, ...]:
        """Their names, in the order of the scores."""
        ...

    @property
    def max_tokens(self) -> int:
        """Longer texts are cut here, of a pair the longer one first."""
        ...

    def scores(self, texts: Sequence[Text]) -> Scores:
        """One row a text."""
        ...

    def close(self) -> None:
        """Free the model."""
        ...


class Classifier:
    """Serves such a model from a thread of its own, so that the event loop and the engine go on."""

    def __init__(self, model: LabelModel) -> None:
        self.model = model
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="classifier")

    async def classify(self, texts: Sequence[Text]) -> Scores:
        """Scores in the order of `texts`."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, self.model.scores, list(texts))

    def close(self) -> None:
        """After the running batch."""
        self._thread.shutdown(wait=True, cancel_futures=True)
        self.model.close()
