"""How two rankings become one, and how the hits are spread over documents."""

import pytest

from tools.rag.search import DENSE_WEIGHT, PER_DOCUMENT, RRF_K, Found, best_score, rrf, spread
from tools.rag.store import Passage


def found(document: str, position: int) -> Found:
    passage = Passage(position, document, document, "", 1, position, None, None, 0, 1, "x", None)
    return Found(passage, None, 1.0, 1.0 / (position + 1))


def test_what_both_legs_find_comes_first() -> None:
    fused = rrf([([1, 2, 3], 1.0), ([9, 2], DENSE_WEIGHT)])
    assert max(fused, key=lambda item: fused[item]) == 2
    assert set(fused) == {1, 2, 3, 9}


def test_first_everywhere_is_the_best_score() -> None:
    assert rrf([([1], 1.0), ([1], DENSE_WEIGHT)])[1] == pytest.approx(best_score("hybrid"))
    assert rrf([([1], 1.0)])[1] == best_score("lexical") == 1.0 / (RRF_K + 1)


def test_one_document_gives_way_to_others_but_not_to_nothing() -> None:
    hits = [found("a", n) for n in range(6)] + [found("b", 6)]
    shown = [hit.passage.document_id for hit in spread(hits, 5)]
    assert shown == ["a"] * PER_DOCUMENT + ["b", "a"]
    assert len(list(spread([found("a", n) for n in range(6)], 5))) == 5
