"""More rows in the manner of those that are there, by a model of the server.

The model sees a row and two others, as in Self-Instruct (Wang et al. 2023, arXiv 2212.10560), and writes one
more. What is nearly a row that is there is left out (MinHash), held-out rows included, and so is what the
rules of datasets find wrong. Rows to train on alone are shown and added to.
"""

from collections import Counter
from collections.abc import Sequence
from random import Random

from pydantic import Field

from rlhf.data.asking import Request, quoted, seed_of
from rlhf.data.made import derived, unlike_each_other, without_near, without_poor
from rlhf.data.step import Means, Sides, SideStep
from rlhf.data.texts import asked, named, text_of
from rlhf.shapes import AnyRow, LabelRow, SftRow, TripletRow

SHOWN = 1500
"""Characters of a row that is shown."""
LONGER = 3
"""How many times as long as the row that it follows one may be."""
BESIDE = 2
TASKS = {
    "sft": (
        "You write training data. Read the examples, each a request and its answer, and write one new "
        "request of the same sort about something else, with its answer. Reply with JSON: request, answer.",
        ("request", "answer"),
    ),
    "label": (
        "You write training data. Read the examples, texts of one class, and write one new text of the same "
        "class in other words. Reply with JSON: text.",
        ("text",),
    ),
    "triplet": (
        "You write training data. Read a question and the passage that answers it, and write another "
        "question that the same passage answers. Reply with JSON: question.",
        ("question",),
    ),
}


class Synthesise(SideStep):
    """New rows in the manner of those to train on, written by a model of the server."""

    NAME = "synthesise"
    KINDS = ("sft", "triplet", "label")
    each: int = Field(default=1, ge=1, le=5)
    """New rows for each row."""
    rows: int = Field(default=500, ge=1, le=5000)
    """Rows that are followed, at most; which ones, the seed says."""
    model: str = Field(default="", max_length=200)
    """Its id in the server; empty: the one that answers chats."""
    temperature: float = Field(default=0.9, ge=0, le=2)
    weight: float = Field(default=1.0, gt=0, le=10)
    """Of a new row in that of its own, where rows are weighed."""

    def apply(self, sides: Sides, means: Means, counts: Counter[str]) -> tuple[Sides, str]:
        """The rows to train on and the new ones; what is held out is as it was."""
        counts["rows"] += len(sides.train)
        seeds = _drawn(sides.train, self.rows, means.seed)
        orders = [(seed, number) for seed in seeds for number in range(1, self.each + 1)]
        requests = [self._request(seed, number, sides.train, means.seed) for seed, number in orders]
        with means.model(self.model) as model:
            written, by = model.write(requests, means.watch), model.name
        made = []
        for (seed, number), found in zip(orders, written, strict=True):
            if found is None:
                counts["not understood"] += 1
            elif _strays(seed, found):
                counts["poor"] += 1
            else:
                made.append(derived(seed, self.NAME, number, by, _columns(seed, found), self.weight))
        made = without_poor(made, counts)
        made = without_near(made, sides.held_out, counts, "near a held-out row")
        made = without_near(made, sides.train, counts, "near a row that is there")
        made = unlike_each_other(made, counts)
        counts["made"] += len(made)
        return Sides([*sides.train, *made], sides.held_out), by

    def _request(self, seed: AnyRow, number: int, rows: Sequence[AnyRow], run: int) -> Request:
        system, columns = TASKS[_kind(seed)]
        if isinstance(seed, TripletRow):
            shown = [f"Question: {seed.query}\nPassage: {seed.positive}"]
        else:
            like = [row for row in rows if row is not seed and _like(seed, row)]
            random = Random(f"{run}:{named(seed)}:{number}")
            shown = [_shown(row) for row in (seed, *random.sample(like, min(BESIDE, len(like))))]
        text = "\n\n".join(quoted(one[:SHOWN]) for one in shown)
        return Request(system, text, columns, seed_of(run, named(seed), number), self.temperature)


def _drawn(rows: Sequence[AnyRow], most: int, seed: int) -> list[AnyRow]:
    # A conversation with tools is not written anew by one answer.
    fitting = [
        row for row in rows if not (isinstance(row, SftRow) and (row.tools or len(row.completion) > 1))
    ]
    return sorted(fitting, key=lambda row: seed_of(seed, named(row)))[:most]


def _kind(row: AnyRow) -> str:
    return "label" if isinstance(row, LabelRow) else "triplet" if isinstance(row, TripletRow) else "sft"


def _like(seed: AnyRow, row: AnyRow) -> bool:
    return not isinstance(seed, LabelRow) or (isinstance(row, LabelRow) and row.label == seed.label)


def _shown(row: AnyRow) -> str:
    if isinstance(row, LabelRow):
        return f"Class {row.label}: {row.text}"
    said = text_of(row.completion) if isinstance(row, SftRow) else ""
    return f"Request: {text_of(asked(row)[-1:])}\nAnswer: {said}"


def _strays(seed: AnyRow, found: dict[str, str]) -> bool:
    """Much longer than what it follows, or the answer is the request."""
    before = len(_shown(seed)) if not isinstance(seed, TripletRow) else len(seed.query)
    values = list(found.values())
    return sum(map(len, values)) > LONGER * max(before, 40) or len(set(values)) < len(values)


def _columns(seed: AnyRow, found: dict[str, str]) -> dict[str, object]:
    if isinstance(seed, LabelRow):
        return {"text": found["text"]}
    if isinstance(seed, TripletRow):
        return {"query": found["question"]}
    before = [message.plain() for message in asked(seed) if message.role in ("system", "developer")]
    return {
        "prompt": [*before, {"role": "user", "content": found["request"]}],
        "completion": [{"role": "assistant", "content": found["answer"]}],
        "source": "synthetic",
    }
