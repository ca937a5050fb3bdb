"""Preferences become thumbs and answers, on the side that they were on, and it stays known where from."""

from pathlib import Path
from typing import Any

import pytest

from rlhf.data.build import Plan, build
from rlhf.data.derive import derive
from rlhf.data.folder import read_dataset, verify_split
from rlhf.data.ready import refuse_unready
from rlhf.data.withdraw import Person
from rlhf.errors import DatasetError
from rlhf.records import write_jsonl
from rlhf.registry import origin
from tests.rlhf.rows import rows

SOURCES = ("thumbs", "correction")


def trace(name: str) -> dict[str, str]:
    return {"trace_id": name, "generation_id": f"g-{name}", "model": "starter"}


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    """Twenty preferences: thumbs, and corrections at half weight, which have one trace."""
    them = []
    for at, one in enumerate(rows(20)):
        corrected = at % 2 == 1
        columns: dict[str, Any] = {
            "source": SOURCES[at % 2],
            "weight": 0.5 if corrected else 1.0,
            "user": f"u{at}",
            "session": f"s{at}",
            "rejected_trace": trace(f"bad{at}"),
            "chosen_trace": None if corrected else trace(f"good{at}"),
        }
        them.append(one.model_validate({**one.plain(), **columns}))
    write_jsonl(tmp_path / "rows.jsonl", them)
    build([tmp_path / "rows.jsonl"], tmp_path / "pairs", Plan(seed=2))
    return tmp_path / "pairs"


def test_a_preference_is_a_thumb_up_and_a_thumb_down(pairs: Path, tmp_path: Path) -> None:
    manifest, _ = derive(pairs, "kto", tmp_path / "thumbs")
    assert (manifest["kind"], manifest["rows"]) == ("kto", {"train": 32, "held_out": 8})
    before, made = read_dataset(pairs), verify_split(tmp_path / "thumbs")
    for side, old in ((made.train, before.train), (made.held_out, before.held_out)):
        ups = {row.completion[0].content: row for row in side if row.label}
        downs = {row.completion[0].content: row for row in side if not row.label}
        assert ups.keys() == {row.chosen[0].content for row in old}
        assert downs.keys() == {row.rejected[0].content for row in old}
        for row in old:
            up, down = ups[row.chosen[0].content], downs[row.rejected[0].content]
            assert up.trace == (row.chosen_trace or row.rejected_trace)
            assert down.trace == row.rejected_trace
            assert {(one.user, one.session, one.weight, one.source) for one in (up, down)} == {
                (row.user, row.session, row.weight, row.source)
            }
    refuse_unready(tmp_path / "thumbs", "kto")


def test_what_was_preferred_or_corrected_is_to_be_imitated(pairs: Path, tmp_path: Path) -> None:
    manifest, _ = derive(pairs, "sft", tmp_path / "answers", ["correction"])
    before, made = read_dataset(pairs), verify_split(tmp_path / "answers")
    wanted = [row for row in before.train if row.source == "correction"]
    assert {row.completion[0].content for row in made.train} == {r.chosen[0].content for r in wanted}
    assert {row.weight for row in made.train} == {0.5}
    assert manifest["parents"] == [{"dataset": before.digest, "rows": 20}]
    assert manifest["transform"]["derived"] == {"from": before.digest, "to": "sft", "sources": ["correction"]}
    assert f"the dataset {before.digest[:12]} (20 rows)" in (tmp_path / "answers" / "README.md").read_text()
    refuse_unready(tmp_path / "answers", "sft")
    # An adapter that learns from them leads to their traces.
    assert all(origin(row.plain())["chosen_trace"] == row.plain()["trace"] for row in made.train)
    # Whose rows they are is still found by the trace of what was corrected.
    person = Person("nobody", frozenset({made.train[0].trace.trace_id}))
    assert [person.gave(row.plain()) for row in made.train].count(True) == 1


def test_again_it_is_the_same_and_other_kinds_are_refused(pairs: Path, tmp_path: Path) -> None:
    one, _ = derive(pairs, "kto", tmp_path / "thumbs")
    again, _ = derive(pairs, "kto", tmp_path / "more")
    assert one["digest"] == again["digest"]
    with pytest.raises(DatasetError, match="holds kto rows; others are derived from preferences only"):
        derive(tmp_path / "thumbs", "sft", tmp_path / "out")
    with pytest.raises(DatasetError, match="has no preference to train on from judge"):
        derive(pairs, "sft", tmp_path / "out", ["judge"])
