"""Hard negatives: of the texts that answer other queries, one that is near a query and no answer to it.

Near is by words of the query and its answer, weighed by how rare they are (BM25 without lengths; Robertson
and Zaragoza 2009). Each side is mined from itself: a text of a held-out document would otherwise teach, be it
as a wrong answer.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Sequence

from pydantic import Field

from rlhf.data.near import jaccard, prompt_words, shingles
from rlhf.data.step import Means, Sides, SideStep
from rlhf.records import Message
from rlhf.shapes import AnyRow, TripletRow

SAME = 0.5
"""Similarity from which on two texts say the same."""
SATURATION = 1.2
ASKED = 4
"""How much more a word of the query counts than one of its answer."""


class Negatives(SideStep):
    """A negative for each query that has none: near in words, from elsewhere, and not nearly its answer."""

    NAME = "negatives"
    KINDS = ("triplet",)
    skip: int = Field(default=0, ge=0, le=100)
    """Of the nearest texts, so many are passed over: the very nearest may answer without being marked."""

    def apply(self, sides: Sides, means: Means, counts: Counter[str]) -> tuple[Sides, str]:
        """Both sides, each with negatives of its own."""
        counts["rows"] += len(sides.train) + len(sides.held_out)
        return Sides(self.mined(sides.train, counts), self.mined(sides.held_out, counts)), ""

    def mined(self, rows: Sequence[AnyRow], counts: Counter[str]) -> list[AnyRow]:
        """The rows of one side."""
        triplets = [row for row in rows if isinstance(row, TripletRow)]
        shelf = _Shelf(triplets)
        out: list[AnyRow] = []
        for row in triplets:
            found = None if row.negative else shelf.near(row, self.skip)
            counts["mined" if found else "there before" if row.negative else "without a negative"] += 1
            out.append(row.model_copy(update={"negative": found}) if found else row)
        return out


class _Shelf:
    """The positives of one side, by their words."""

    def __init__(self, rows: Sequence[TripletRow]) -> None:
        self.texts = sorted({row.positive for row in rows})
        self.words = [Counter(_words(text)) for text in self.texts]
        self.sets = [shingles(_words(text)) for text in self.texts]
        self.places: dict[str, list[int]] = defaultdict(list)
        for at, words in enumerate(self.words):
            for word in words:
                self.places[word].append(at)
        self.of_place: dict[tuple[str | None, str | None, str | None], set[str]] = defaultdict(set)
        """Positives of one query, and of one section: any of them may answer it."""
        for row in rows:
            for place in _places(row):
                self.of_place[place].add(row.positive)

    def near(self, row: TripletRow, skip: int) -> str | None:
        """The nearest text that is no answer, after `skip` of them."""
        scores: dict[int, float] = defaultdict(float)
        asked = set(_words(row.query))
        for word in asked | set(_words(row.positive)):
            there = self.places.get(word, [])
            rare = math.log(1 + len(self.texts) / (1 + len(there))) * (ASKED if word in asked else 1)
            for at in there:
                count = self.words[at][word]
                scores[at] += rare * count * (1 + SATURATION) / (count + SATURATION)
        answers = {text for place in _places(row) for text in self.of_place[place]}
        mine = shingles(_words(row.positive))
        ranked = sorted(scores, key=lambda at: (-scores[at], self.texts[at]))
        others = [
            at for at in ranked if self.texts[at] not in answers and jaccard(self.sets[at], mine) < SAME
        ]
        if not others:
            return None
        return self.texts[others[min(skip, len(others) - 1)]]


def _places(row: TripletRow) -> list[tuple[str | None, str | None, str | None]]:
    query = (row.query, None, None)
    passage = row.passage
    return [query, (None, passage.document, passage.section)] if passage and passage.section else [query]


def _words(text: str) -> tuple[str, ...]:
    return prompt_words([Message(role="user", content=text)])
