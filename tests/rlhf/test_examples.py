"""Which rows server and PEFT are compared on."""

import json
from pathlib import Path

from rlhf.examples import examples, plain
from rlhf.pairs import read_rows
from rlhf.registry import Registry, Version
from tests.llm_server.adapters.making import make_adapter
from tests.rlhf.preferring import dataset, rows, write

DIGEST = "a1b2c3" * 10


def version(folder: Path, digest: str | None) -> Version:
    lineage = {"dataset_digest": digest, "parent": None}
    return Registry(folder).add("polite", make_adapter(folder / "made", 1), lineage, [])


def test_rows_that_were_held_out_come_first_then_what_was_learnt_then_made_up_ones(tmp_path: Path) -> None:
    folder = dataset(tmp_path / "objects" / "datasets" / DIGEST[:12], count=4, held=2)
    found = examples(version(tmp_path, DIGEST), tmp_path / "objects", 8)
    held_out, learnt = (read_rows(folder / name) for name in ("held_out.jsonl", "train.jsonl"))
    assert found == [*held_out, *learnt, *plain(2)]
    assert examples(version(tmp_path, DIGEST), tmp_path / "objects", 3) == [*held_out, learnt[0]]


def test_an_adapter_without_usable_rows_is_compared_on_made_up_ones(tmp_path: Path) -> None:
    elsewhere = version(tmp_path / "elsewhere", None)
    assert examples(elsewhere, tmp_path / "objects", 32) == plain(32)
    # Thumbs have no preferred answer, and a dataset can be deleted.
    folder = tmp_path / "objects" / "datasets" / DIGEST[:12]
    folder.mkdir(parents=True)
    write(folder / "train.jsonl", [{"prompt": rows(1)[0]["prompt"], "completion": [], "label": True}])
    assert examples(version(tmp_path, DIGEST), tmp_path / "objects", 32) == plain(32)


def test_made_up_rows_are_the_same_every_time_and_suit_every_template() -> None:
    made = plain(32)
    assert made == plain(32)
    assert len({json.dumps(row) for row in made}) == 32
    for row in made:
        assert set(row) == {"prompt", "chosen"}
        assert [message["role"] for message in (*row["prompt"], *row["chosen"])] == ["user", "assistant"]
