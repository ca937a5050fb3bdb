"""What server and PEFT are compared on: rows of its own dataset, or ones that suit any model."""

import random
from pathlib import Path

from rlhf.data.folder import HELD_OUT, TRAIN
from rlhf.pairs import read_rows
from rlhf.preference import Row, own_words
from rlhf.registry import SHORT, Version
from rlhf.starter.facts import FactMaker

SEED = 5


def examples(version: Version, objects: Path, count: int) -> list[Row]:
    """`count` rows: those that the version never saw first, then those that it learnt from. An adapter that
    was trained elsewhere has none, or its dataset was deleted: made-up ones fill up.

    Args:
        objects: DATA/objects.
    """
    files = [dataset_of(version, objects) / name for name in (HELD_OUT, TRAIN)]
    own = [row for file in files if file.is_file() for row in read_rows(file) if row.get("chosen")]
    return [*own[:count], *plain(count - len(own))]


def dataset_of(version: Version, objects: Path) -> Path:
    """Where the dataset is, or was, that a version was trained on."""
    digest = str(version.lineage().get("dataset_digest") or "none")
    return objects / "datasets" / digest[:SHORT]


def plain(count: int) -> list[Row]:
    """One question and one sentence each, the same ones every time. No roles but the two that every chat
    template knows, no tools, and short: they fit whatever the adapter goes on.
    """
    maker = FactMaker(random.Random(SEED), own_words())
    facts = [maker.fact() for _ in range(count)]
    return [
        {
            "prompt": [{"role": "user", "content": f"{fact.question.capitalize()}?"}],
            "chosen": [{"role": "assistant", "content": fact.sentence}],
        }
        for fact in facts
    ]
