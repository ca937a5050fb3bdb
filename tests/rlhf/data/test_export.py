"""Exports: TRL's columns, plain text, and CSV that can be read again."""

import csv
import json
from pathlib import Path

import pytest

from rlhf.data.build import Plan, build
from rlhf.data.export import export
from rlhf.data.folder import read_dataset
from rlhf.data.kinds import KINDS
from rlhf.data.read import scan
from rlhf.records import PreferenceRow, write_jsonl
from tests.rlhf.rows import plain, row, rows
from tests.rlhf.test_cli import rlhf

CALL = {"type": "function", "function": {"name": "f", "arguments": "{}"}}


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """Rows of one user, which stay in training: a tool call, two turns, plain ones; and twenty others."""
    called = [{"role": "assistant", "content": None, "tool_calls": [CALL]}]
    turns = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hello there my friend"},
        {"role": "assistant", "content": "Hi."},
        {"role": "user", "content": 'How "are" you,\nhonestly?'},
    ]
    special = [
        PreferenceRow.model_validate(plain("call it now", chosen=called, tools="[]", user="ann")),
        PreferenceRow.model_validate(plain("", "Fine; thanks.", prompt=turns, user="ann")),
        *(row(f"filler{i} more{i}", user="ann") for i in range(10)),
    ]
    write_jsonl(tmp_path / "rows.jsonl", [*rows(20), *special])
    build([tmp_path / "rows.jsonl"], tmp_path / "set", Plan())
    return tmp_path / "set"


def test_trl_gets_its_columns_as_they_are(dataset: Path, tmp_path: Path) -> None:
    written = export(dataset, "trl", tmp_path / "out")
    assert sum(pairs for pairs, _ in written.values()) == 32
    lines = (tmp_path / "out" / "train.jsonl").read_text().splitlines()
    for line, original in zip(lines, read_dataset(dataset).train, strict=True):
        found = json.loads(line)
        assert list(found) == ["prompt", "chosen", "rejected", "tools"]
        assert found["chosen"] == [message.plain() for message in original.chosen]


def test_trlx_gets_marked_text_and_no_tool_calls(dataset: Path, tmp_path: Path) -> None:
    written = export(dataset, "trlx", tmp_path / "out")
    assert sum(others for _, others in written.values()) == 1
    found = [json.loads(line) for line in (tmp_path / "out" / "train.jsonl").read_text().splitlines()]
    (turns,) = [one for one in found if "Hello" in one["prompt"]]
    assert turns == {
        "prompt": "System: Be brief.\n\nHuman: Hello there my friend\n\nAssistant: Hi.\n\n"
        'Human: How "are" you,\nhonestly?\n\nAssistant:',
        "chosen": " Fine; thanks.",
        "rejected": " No.",
    }


def test_csv_can_be_read_again(dataset: Path, tmp_path: Path) -> None:
    written = export(dataset, "csv", tmp_path / "out")
    assert sum(others for _, others in written.values()) == 2
    original = read_dataset(dataset)
    assert scan(tmp_path / "out" / "held_out.csv", KINDS["preference"]).whole() == original.held_out
    again = scan(tmp_path / "out" / "train.csv", KINDS["preference"]).whole()
    assert again == [one for one in original.train if one.tools is None and len(one.prompt) == 1]


def test_the_commands_check_build_verify_and_export(dataset: Path, tmp_path: Path) -> None:
    source, out = str(tmp_path / "rows.jsonl"), str(tmp_path / "again")
    checked = json.loads(rlhf("dataset", "check", source, "--json").stdout)
    assert (checked["rows"], checked["errors"]) == (32, 0)
    done = rlhf("dataset", "build", source, "--out", out)
    assert done.returncode == 0
    assert f"digest {read_dataset(dataset).digest}" in done.stdout
    assert "whole and leaks nothing" in rlhf("dataset", "verify", out).stdout
    done = rlhf("dataset", "export", out, "--to", "csv", "--out", str(tmp_path / "csv"))
    assert "left out because they do not fit csv" in done.stdout
    (tmp_path / "bad.csv").write_text("prompt,chosen,rejected\nA?,Same.,Same.\nB?,x\n")
    done = rlhf("dataset", "check", str(tmp_path / "bad.csv"))
    assert done.returncode == 1
    assert "readable rows: 1, errors: 2, warnings: 0" in done.stdout
    done = rlhf("dataset", "build", str(tmp_path / "bad.csv"), "--out", str(tmp_path / "never"))
    assert (done.returncode, "bad.csv:3: has 2 cells" in done.stderr) == (1, True)
    assert "cannot be read" in rlhf("dataset", "check", str(tmp_path / "absent.jsonl")).stderr


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "'=1", "''@x", "'quoted'"])
def test_no_cell_is_run_as_a_formula_and_every_text_comes_back(tmp_path: Path, text: str) -> None:
    write_jsonl(tmp_path / "rows.jsonl", [row(text, good=text, user=text), *rows(20)])
    build([tmp_path / "rows.jsonl"], tmp_path / "set", Plan())
    export(tmp_path / "set", "csv", tmp_path / "out")
    found = []
    for file in sorted((tmp_path / "out").iterdir()):
        with file.open(newline="", encoding="utf-8") as lines:
            cells = [cell for line in csv.reader(lines) for cell in line]
        assert not [cell for cell in cells if cell.startswith(("=", "+", "-", "@", "\t", "\r"))]
        found += [one for _, one in scan(file, KINDS["preference"]).rows]
    (special,) = [one for one in found if one.user is not None]
    assert (special.user, special.prompt[0].content, special.chosen[0].content) == (text, text, text)
