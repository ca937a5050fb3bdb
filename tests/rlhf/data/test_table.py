"""CSV files: what spreadsheets write is read, and what is wrong is named with its line."""

from pathlib import Path

import pytest

from rlhf.data.kinds import KINDS
from rlhf.data.read import scan
from rlhf.records import PreferenceRow

HEADER = b"prompt,chosen,rejected\n"
NEEDED = "; it must name prompt, chosen, rejected"


def read(path: Path, content: bytes) -> list[PreferenceRow]:
    path.write_bytes(content)
    return scan(path, KINDS["preference"]).whole()


def refused(path: Path, content: bytes) -> list[str]:
    path.write_bytes(content)
    return [str(bad).removeprefix(str(path)) for bad in scan(path, KINDS["preference"]).bad]


def test_a_row_becomes_a_preference(tmp_path: Path) -> None:
    content = HEADER + '"Is it, well, open?","Yes.\nFrom ""nine"".",Nein – no\n'.encode()
    (row,) = read(tmp_path / "x.csv", content)
    assert row.prompt[0].plain() == {"role": "user", "content": "Is it, well, open?"}
    assert row.chosen[0].plain() == {"role": "assistant", "content": 'Yes.\nFrom "nine".'}
    assert row.rejected[0].content == "Nein – no"


@pytest.mark.parametrize("delimiter", [b",", b";", b"\t"])
def test_what_spreadsheets_write_is_read(tmp_path: Path, delimiter: bytes) -> None:
    lines = [b"prompt,chosen,rejected,user,weight", b"A?,Yes.,No.,ann,0.5", b"B?,Yes.,No.,,"]
    content = b"\xef\xbb\xbf" + b"\r\n".join(lines).replace(b",", delimiter)
    first, second = read(tmp_path / "x.csv", content)
    assert (first.user, first.weight) == ("ann", 0.5)
    assert (second.user, second.weight) == (None, 1.0)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", [f":1: the first row has no column prompt, chosen, rejected{NEEDED}"]),
        (HEADER, [": has no rows"]),
        (b"prompt,chosen\nA?,Yes.\n", [f":1: the first row has no column rejected{NEEDED}"]),
        (b"prompt,chosen,rejected,chosen\n", [":1: the first row names chosen twice"]),
        (HEADER + b"A?,Yes.\n", [":2: has 2 cells, the first row has 3"]),
        (HEADER + b"A?,Yes.,No.\n\nB?,Yes.,No.\n", [":3: is empty"]),
        (HEADER + b"A?, ,\n", [":2: chosen, rejected is empty"]),
        (HEADER + b'"two\nlines",Yes.,No.\nB?,Yes.\n', [":4: has 2 cells, the first row has 3"]),
        (HEADER + b"A?,Yes.,No.\ncaf\xe9,Yes.,No.\n", [":3: is not UTF-8 at byte 4 (0xe9)"]),
        (
            HEADER + b'A?,"Yes.,No.\nB?,Yes.,No.\n',
            [":2: is not CSV: unexpected end of data; nothing after it was looked at"],
        ),
    ],
)
def test_a_bad_row_is_named_with_its_line_and_its_reason(
    tmp_path: Path, content: bytes, said: list[str]
) -> None:
    assert refused(tmp_path / "x.csv", content) == said


def test_a_wrong_value_and_an_unknown_column_are_named(tmp_path: Path) -> None:
    (said,) = refused(tmp_path / "x.csv", b"prompt,chosen,rejected,weight\nA?,Yes.,No.,heavy\n")
    assert said.startswith(":2: weight: Input should be a valid number")
    (said,) = refused(tmp_path / "x.csv", b"prompt,chosen,rejected,score\nA?,Yes.,No.,1\n")
    assert said.startswith(":1: has unknown columns 'score'; known are prompt, chosen")
