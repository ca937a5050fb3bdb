"""Every shape is read whole or refused with file, line and reason."""

import json
from pathlib import Path
from typing import Any

import pytest

from rlhf.errors import BadRecords
from rlhf.shapes import KtoRow, LabelRow, Row, SftRow, TripletRow, read_shape

ASKED = {"role": "user", "content": "Why?"}
SAID = {"role": "assistant", "content": "So."}


def written(folder: Path, *rows: Any) -> Path:
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_three_ways_to_write_an_answer(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        {"prompt": [ASKED], "completion": [SAID]},
        {"messages": [ASKED, SAID, ASKED, SAID]},
        {"instruction": "Why?", "input": "It fell.", "output": "So."},
    )
    plain, talk, told = read_shape(path, SftRow)
    assert plain.completion[0].content == "So."
    assert (len(talk.prompt), len(talk.completion)) == (1, 3)
    assert told.prompt[0].content == "Why?\n\nIt fell."
    assert len({plain.row_id, talk.row_id, told.row_id}) == 3
    assert plain.row_id == read_shape(path, SftRow)[0].row_id
    assert read_shape(written(tmp_path, *(json.loads(row.line()) for row in (plain, talk))), SftRow) == [
        plain,
        talk,
    ]


@pytest.mark.parametrize(
    ("shape", "row", "reason"),
    [
        (SftRow, {"prompt": [ASKED]}, "has no completion"),
        (SftRow, {"prompt": [ASKED], "completion": [ASKED]}, "starts with a message of the user"),
        (SftRow, {"messages": [ASKED]}, "no message of the assistant"),
        (SftRow, {"prompt": [ASKED], "completion": [SAID], "tools": "{}"}, "tools is no JSON list"),
        (KtoRow, {"prompt": [ASKED], "completion": [SAID]}, "has no label"),
        (KtoRow, {"prompt": [ASKED], "completion": [SAID], "label": "up"}, "label: .*valid boolean"),
        (TripletRow, {"query": "a", "negative": "b"}, "has no positive"),
        (TripletRow, {"query": "", "positive": "b"}, "query: .*at least 1 character"),
        (LabelRow, {"text": "a", "label": "b", "colour": "red"}, "has an unknown column colour"),
        (LabelRow, [1], "no object with columns"),
    ],
)
def test_bad_rows_are_named(shape: type[Row], row: Any, reason: str, tmp_path: Path) -> None:
    path = written(tmp_path, row)
    with pytest.raises(BadRecords, match=rf"rows\.jsonl:1: .*{reason}"):
        read_shape(path, shape)


def test_one_bad_row_refuses_the_file(tmp_path: Path) -> None:
    path = written(tmp_path, {"text": "a", "label": "b"}, {"text": "a"})
    with pytest.raises(BadRecords, match=r"1 rows are bad:\n.*rows\.jsonl:2: has no label"):
        read_shape(path, LabelRow)
    path.write_text("")
    with pytest.raises(BadRecords, match="has no rows"):
        read_shape(path, LabelRow)
