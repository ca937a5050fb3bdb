"""Kinds of rows that a dataset may hold: what makes one, what it is called, which trainings read it."""

from dataclasses import dataclass
from typing import Literal

from rlhf.errors import DatasetError
from rlhf.records import PreferenceRow
from rlhf.shapes import AnyRow, KtoRow, LabelRow, SftRow, TripletRow

Name = Literal["preference", "kto", "sft", "triplet", "label"]
PROVENANCE = ("row_id", "session", "user", "at")


@dataclass(frozen=True)
class RowKind:
    """One kind.

    Attributes:
        title, about, called: for the card and for people: "Preferences", a sentence, "pairs".
        ways: columns that make a row; where there are several ways to write one, each.
        more: further columns of text that a table of such rows may have.
        methods: trainings that read it.
    """

    name: Name
    row: type[AnyRow]
    title: str
    about: str
    called: str
    ways: tuple[tuple[str, ...], ...]
    more: tuple[str, ...]
    methods: tuple[str, ...]


KINDS: dict[Name, RowKind] = {
    kind.name: kind
    for kind in (
        RowKind(
            "preference",
            PreferenceRow,
            "Preferences",
            "Pairs of answers to one prompt, of which one was preferred, for DPO and the like.",
            "pairs",
            (("prompt", "chosen", "rejected"),),
            ("pair_id", "source", "weight", "session", "user", "at"),
            ("dpo", "reward"),
        ),
        RowKind(
            "kto",
            KtoRow,
            "Thumbs",
            "Answers with a thumb up or down each, for KTO.",
            "answers with a thumb",
            (("prompt", "completion", "label"),),
            ("source", "weight", *PROVENANCE),
            ("kto",),
        ),
        RowKind(
            "sft",
            SftRow,
            "Answers",
            "Answers to imitate, for supervised fine-tuning.",
            "answers",
            (("prompt", "completion"), ("messages",), ("instruction", "output")),
            ("input", "source", "weight", *PROVENANCE),
            ("sft",),
        ),
        RowKind(
            "triplet",
            TripletRow,
            "Queries",
            "Queries with a text that answers each, for an embedding model.",
            "queries",
            (("query", "positive"), ("anchor", "positive")),
            ("negative", *PROVENANCE),
            ("embedding",),
        ),
        RowKind(
            "label",
            LabelRow,
            "Labels",
            "Texts and what each is, for a classifier.",
            "texts",
            (("text", "label"),),
            PROVENANCE,
            ("classifier",),
        ),
    )
}


OF_SHAPE: dict[str, Name] = {
    "preference": "preference",
    "thumbs": "kto",
    "chat": "sft",
    "instruction": "sft",
    "retrieval": "triplet",
    "labels": "label",
}
"""Kinds by the shape that `inspect` infers of a file."""


def kind_of(name: object) -> RowKind:
    """A kind by its name. DatasetError where there is none."""
    found = next((kind for kind in KINDS.values() if kind.name == name), None)
    if found is None:
        raise DatasetError(f"`{name}` is no kind of rows; there are: {', '.join(KINDS)}")
    return found


def read_by(method: str) -> RowKind:
    """The kind that a training reads. DatasetError where none is known."""
    found = next((kind for kind in KINDS.values() if method in kind.methods), None)
    if found is None:
        raise DatasetError(f"no kind of rows is known for `{method}`")
    return found


def kind_of_row(row: AnyRow) -> RowKind:
    """The kind that a row is of."""
    return next(kind for kind in KINDS.values() if type(row) is kind.row)


def nearest(columns: set[str]) -> RowKind:
    """The kind that columns make, or that they are nearest to."""

    def fit(kind: RowKind) -> tuple[float, int]:
        return max((len(columns & set(way)) / len(way), len(way)) for way in kind.ways)

    # Of those that fit, the one with most columns: a thumb is an answer with a label.
    return max(KINDS.values(), key=fit)
