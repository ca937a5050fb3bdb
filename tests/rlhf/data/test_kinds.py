"""Rows of every kind are recognised, checked with the line named, and split without leaks."""

import json
from pathlib import Path
from typing import Any

import pytest

from rlhf.data.build import Plan, build
from rlhf.data.check import check_rows
from rlhf.data.export import export
from rlhf.data.folder import read_dataset, verify_split
from rlhf.data.kinds import KINDS, Name
from rlhf.data.read import read_files, recognised
from rlhf.data.ready import refuse_unready
from rlhf.errors import BadRecords, DatasetError

Row = dict[str, Any]


def question(at: int) -> str:
    return " ".join(f"word{at}x{j}" for j in range(9))


def made(kind: str, text: str, **more: Any) -> Row:
    """A row as somebody would write it."""
    asked, said = [{"role": "user", "content": text}], [{"role": "assistant", "content": f"So: {text}"}]
    rows: dict[str, Row] = {
        "preference": {
            "prompt": asked,
            "chosen": said,
            "rejected": [{"role": "assistant", "content": "No."}],
        },
        "kto": {"prompt": asked, "completion": said, "label": True},
        "sft": {"messages": [*asked, *said]},
        "triplet": {"query": text, "positive": f"A text about {text}"},
        "label": {"text": text, "label": "contract"},
    }
    return {**rows[kind], **more}


def written(path: Path, rows: list[Row]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


ALL: tuple[Name, ...] = ("preference", "kto", "sft", "triplet", "label")


@pytest.mark.parametrize("kind", ALL)
def test_a_kind_is_recognised_built_and_split_by_prompt_session_and_user(kind: Name, tmp_path: Path) -> None:
    rows = [made(kind, question(at)) for at in range(20)]
    near = [made(kind, f"{question(at)} again") for at in range(20)]
    session = [made(kind, question(100 + at), session=f"s{at % 5}") for at in range(10)]
    user = [made(kind, question(200 + at), user=f"u{at % 5}") for at in range(10)]
    twice = rows[:3]
    source = written(tmp_path / "rows.jsonl", [*rows, *near, *session, *user, *twice])
    manifest, _ = build([source], tmp_path / "set", Plan(seed=3))
    assert (manifest["kind"], manifest["left_out"]) == (kind, {"errors": 0, "duplicates": 3})
    assert sum(manifest["rows"].values()) == 60
    assert manifest["rows"]["held_out"] in range(9, 13)
    dataset = verify_split(tmp_path / "set")
    assert all(type(row) is KINDS[kind].row for row in (*dataset.train, *dataset.held_out))
    card = (tmp_path / "set" / "README.md").read_text()
    assert card.startswith(f"# {KINDS[kind].title} ")
    assert f"| {KINDS[kind].called} | {len(dataset.train)} |" in card
    for method in KINDS[kind].methods:
        refuse_unready(tmp_path / "set", method)


@pytest.mark.parametrize("kind", ALL)
def test_personal_data_are_replaced_in_every_kind(kind: Name, tmp_path: Path) -> None:
    rows = [made(kind, f"{question(at)} write to ann{at}@mail.example") for at in range(6)]
    source = written(tmp_path / "rows.jsonl", rows)
    manifest, _ = build([source], tmp_path / "set", Plan(redact_pii=True, held_out=0.3))
    assert manifest["redacted"]["EMAIL"] >= 6
    assert "mail.example" not in "".join(path.read_text() for path in (tmp_path / "set").iterdir())


@pytest.mark.parametrize(
    ("kind", "row", "reason"),
    [
        ("kto", {"prompt": "Why?", "completion": "So.", "label": "maybe"}, "label: .*valid boolean"),
        ("kto", {"prompt": "Why?", "label": True, "completion": []}, "completion: .*at least 1 item"),
        ("sft", {"messages": [{"role": "user", "content": "Why?"}]}, "no message of the assistant"),
        ("triplet", {"query": "why", "positive": ""}, "positive: .*at least 1 character"),
        ("label", {"text": "why", "label": "a", "colour": "red"}, "has an unknown column colour"),
    ],
)
def test_a_bad_row_is_named_with_its_line(kind: Name, row: Row, reason: str, tmp_path: Path) -> None:
    source = written(tmp_path / "rows.jsonl", [made(kind, question(0)), row])
    with pytest.raises(BadRecords, match=rf"rows\.jsonl:2: .*{reason}"):
        build([source], tmp_path / "set", Plan())
    assert not (tmp_path / "set").exists()


def test_tables_hold_every_kind(tmp_path: Path) -> None:
    tables = {
        "kto": "prompt,completion,label\nWhy?,So.,up\nWhy not?,No.,0\n",
        "sft": "instruction;input;output\nSay it.;Now.;So.\n",
        "triplet": "anchor\tpositive\tnegative\nwhy\tso\t\n",
        "label": "text,label,user\nHello there,greeting,ann\n",
    }
    for kind, text in tables.items():
        (tmp_path / f"{kind}.csv").write_text(text)
        read = read_files([tmp_path / f"{kind}.csv"])
        assert (read.kind.name, read.bad) == (kind, [])
    thumbs = read_files([tmp_path / "kto.csv"]).placed
    assert [getattr(one.row, "label", None) for one in thumbs] == [True, False]
    (tmp_path / "wrong.csv").write_text("prompt,completion,label,stars\nWhy?,So.,up,5\n")
    (bad,) = read_files([tmp_path / "wrong.csv"], KINDS["kto"]).bad
    assert "wrong.csv:1: has unknown columns 'stars'; known are prompt, completion, label" in str(bad)


def test_a_given_kind_wins_and_several_kinds_are_refused(tmp_path: Path) -> None:
    thumbs = written(tmp_path / "thumbs.jsonl", [made("kto", question(0))])
    pairs = written(tmp_path / "pairs.jsonl", [made("preference", question(1))])
    assert recognised([thumbs]).name == "kto"
    with pytest.raises(
        DatasetError, match=r"several kinds \(.*thumbs\.jsonl kto, .*pairs\.jsonl preference\)"
    ):
        build([thumbs, pairs], tmp_path / "set", Plan())
    with pytest.raises(BadRecords, match=r"thumbs\.jsonl:1: has no chosen; has no rejected"):
        build([thumbs], tmp_path / "set", Plan(kind="preference"))
    with pytest.raises(DatasetError, match="`pairs` is no kind of rows; there are: preference, kto"):
        build([thumbs], tmp_path / "set", Plan(kind="pairs"))  # type: ignore[arg-type]  # as from a file


def test_what_contradicts_itself_is_told(tmp_path: Path) -> None:
    for kind, other in (("kto", {"label": False}), ("label", {"label": "other"})):
        rows = [made(kind, question(0)), made(kind, question(0), **other)]
        read = read_files([written(tmp_path / "rows.jsonl", rows)])
        (finding,) = check_rows(read.placed).findings
        assert finding.rule == "contradiction"
        assert finding.examples[0].endswith("rows.jsonl:1")
        assert "rows.jsonl:2 has another label than" in finding.examples[0]


def test_thumbs_go_to_trl_and_not_where_they_have_no_place(tmp_path: Path) -> None:
    source = written(tmp_path / "rows.jsonl", [made("kto", question(at)) for at in range(10)])
    build([source], tmp_path / "set", Plan())
    export(tmp_path / "set", "trl", tmp_path / "out")
    first = json.loads((tmp_path / "out" / "train.jsonl").read_text().splitlines()[0])
    assert first.keys() == {"prompt", "completion", "label", "tools"}
    with pytest.raises(DatasetError, match="holds kto rows, for which csv has no place; use trl"):
        export(tmp_path / "set", "csv", tmp_path / "out")
    assert read_dataset(tmp_path / "set").manifest["kind"] == "kto"
