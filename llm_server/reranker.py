"""How well documents answer a query: the seam, what embeddings can do for it, and what classifiers can."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from llm_server.classifier import Classifier, probabilities
from llm_server.embedder import Embedder, shorten


@dataclass(frozen=True, slots=True)
class Relevance:
    """Scores in the order of the documents, higher is better, and the tokens that were read for them."""

    scores: list[float]
    tokens: int


class Reranker(Protocol):
    """A bi-encoder, or a cross-encoder that reads query and document together."""

    async def score(self, query: str, documents: Sequence[str]) -> Relevance:
        """One score a document."""
        ...


class BiEncoder:
    """Cosine of the two vectors, -1 to 1. It knows less than a cross-encoder: query and document are read
    apart.
    """

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder

    async def score(self, query: str, documents: Sequence[str]) -> Relevance:
        """One pass over the query, one over all documents."""
        asked = await self._embedder.embed([query], "query")
        found = await self._embedder.embed(documents, "passage")
        scores = _unit(found.vectors) @ _unit(asked.vectors)[0]
        return Relevance([float(score) for score in scores], asked.tokens + found.tokens)


def _unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """At length 1, which not every model brings them to."""
    return shorten(vectors, vectors.shape[1])


class CrossEncoder:
    """The sigmoid of a classifier's only score for query and document read together, 0 to 1 (Nogueira and
    Cho, 2019).
    """

    def __init__(self, classifier: Classifier) -> None:
        self._classifier = classifier

    async def score(self, query: str, documents: Sequence[str]) -> Relevance:
        """One pass over all pairs."""
        scored = await self._classifier.classify([(query, document) for document in documents])
        return Relevance([float(score) for score in probabilities(scored.values)[:, 0]], scored.tokens)
