"""Hybrid search over the published passages of a project."""

import asyncio
import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from tools.errors import EmbeddingsUnavailable
from tools.rag.analysis import language
from tools.rag.library import Library, Shelf
from tools.rag.store import Passage

logger = logging.getLogger(__name__)

CANDIDATES = 50
"""Passages that each leg hands to the fusion."""
RRF_K = 10
"""Constant of reciprocal rank fusion (Cormack, Clarke and Buettcher, SIGIR 2009, took 60)."""
DENSE_WEIGHT = 1.5
"""Of the dense leg against the lexical one. It only takes part where the embedder knows the language."""
PER_DOCUMENT = 3
"""Passages of one document among the hits, while other documents have any."""


@dataclass(frozen=True)
class Found:
    """A passage with the scores that brought it up; None where a leg did not find it."""

    passage: Passage
    dense: float | None
    bm25: float | None
    rrf: float


@dataclass(frozen=True)
class Findings:
    """What a search found, in which way, and the language that it took the question for."""

    found: list[Found]
    mode: Literal["hybrid", "lexical"]
    language: str


async def search(library: Library, project: str, query: str, top_k: int) -> Findings:
    """The best passages for a question; lexical only where the embedder is of no use."""
    shelf = await library.shelf(project)
    tongue = await asyncio.to_thread(language, query)
    lexical = await asyncio.to_thread(shelf.store.match, query, CANDIDATES)
    dense = await _dense(library, shelf, query) if tongue == library.embedder_language else None
    fused = await asyncio.to_thread(_fused, shelf, lexical, dense or [])
    mode: Literal["hybrid", "lexical"] = "lexical" if dense is None else "hybrid"
    logger.info("searched", extra={"project": project, "mode": mode, "candidates": len(fused)})
    return Findings(list(spread(fused, top_k)), mode, tongue)


async def _dense(library: Library, shelf: Shelf, query: str) -> list[tuple[Passage, float]] | None:
    try:
        vectors = await library.vectors(shelf.project)
        vector = await library.embedder.embed_question(query)
    except EmbeddingsUnavailable as error:
        logger.warning("searching without vectors", extra={"reason": str(error)})
        # Another model may answer when the service is back.
        library.forget_embedder()
        return None
    near = await asyncio.to_thread(vectors.nearest, vector, CANDIDATES)
    places = [(hit.document_id, hit.generation, hit.position) for hit in near]
    passages = await asyncio.to_thread(shelf.store.passages_at, places)
    # A vector counts when its passage is published, and all vectors of its document are there.
    return [
        (passages[place], hit.score)
        for place, hit in zip(places, near, strict=True)
        if place in passages and passages[place].embedder == library.identity()
    ]


def _fused(
    shelf: Shelf, lexical: Sequence[tuple[int, float]], dense: Sequence[tuple[Passage, float]]
) -> list[Found]:
    passages = {passage.id: passage for passage, _ in dense}
    passages |= shelf.store.passages([chunk for chunk, _ in lexical if chunk not in passages])
    bm25 = dict(lexical)
    cosine = {passage.id: score for passage, score in dense}
    fused = rrf(
        [([chunk for chunk, _ in lexical], 1.0), ([passage.id for passage, _ in dense], DENSE_WEIGHT)]
    )
    ranked = sorted(fused.items(), key=lambda item: -item[1])
    return [
        Found(passages[chunk], cosine.get(chunk), bm25.get(chunk), score)
        for chunk, score in ranked
        if chunk in passages
    ]


def rrf(rankings: Iterable[tuple[Sequence[int], float]]) -> dict[int, float]:
    """Reciprocal rank fusion: the sum of weight / (k + rank) over the rankings that hold an item."""
    scores: dict[int, float] = {}
    for ranking, weight in rankings:
        for rank, item in enumerate(ranking, start=1):
            scores[item] = scores.get(item, 0.0) + weight / (RRF_K + rank)
    return scores


def best_score(mode: str) -> float:
    """The score of a passage that is first wherever it could be."""
    return (1.0 + (DENSE_WEIGHT if mode == "hybrid" else 0.0)) / (RRF_K + 1)


def spread(found: Sequence[Found], top_k: int) -> Iterator[Found]:
    """The first `top_k`, with at most `PER_DOCUMENT` of a document before others had their turn."""
    seen: Counter[str] = Counter()
    first: list[Found] = []
    rest: list[Found] = []
    for hit in found:
        seen[hit.passage.document_id] += 1
        (first if seen[hit.passage.document_id] <= PER_DOCUMENT else rest).append(hit)
    yield from (first + rest)[:top_k]
