"""Preference rows: what is read, what is refused and in which words, and that nothing is half-read."""

import json
from pathlib import Path
from typing import Any

import pytest

from rlhf.errors import BadRecords
from rlhf.records import RARE, STARS, PreferenceRow, Trace, read_jsonl, scan_jsonl, write_jsonl
from tests.rlhf.rows import plain, row

GOOD = json.dumps(plain("Is it open?"))


def refused(path: Path, content: bytes) -> list[str]:
    """What is said of a file."""
    path.write_bytes(content)
    with pytest.raises(BadRecords) as caught:
        read_jsonl(path)
    return [str(bad).removeprefix(str(path)) for bad in caught.value.rows]


def test_rows_come_back_as_they_were_written(tmp_path: Path) -> None:
    call: dict[str, Any] = {
        "id": "c1",
        "type": "function",
        "function": {"name": "open", "arguments": {"day": "Mon"}},
    }
    full = PreferenceRow.model_validate(
        {
            "pair_id": "p1",
            "prompt": [
                {"role": "system", "content": "Be brief."},
                {"role": "user", "content": "Offen?\u2028Ja 😀"},
            ],
            "chosen": [
                {"role": "assistant", "content": None, "tool_calls": [call]},
                {"role": "tool", "content": "open", "tool_call_id": "c1"},
                {"role": "assistant", "content": "Yes."},
            ],
            "rejected": [{"role": "assistant", "content": "No."}],
            "tools": "[]",
            "source": "correction",
            "weight": 0.5,
            "session": "s",
            "user": "u",
            "chosen_trace": {"trace_id": "t", "generation_id": "g", "model": "m"},
            "rejected_trace": None,
            "at": "2026-11-21T10:00:00+02:00",
        }
    )
    write_jsonl(tmp_path / "rows.jsonl", [full, row("Second?")])
    assert read_jsonl(tmp_path / "rows.jsonl") == [full, row("Second?")]
    first = json.loads((tmp_path / "rows.jsonl").read_text().split("\n")[0])
    assert list(first) == [name for name in PreferenceRow.model_fields if name not in (*RARE, *STARS)]
    assert first["at"] == "2026-11-21T08:00:00Z"
    assert first["chosen"][0] == {"role": "assistant", "content": None, "tool_calls": [call]}
    assert first["prompt"][0] == {"role": "system", "content": "Be brief."}
    assert full.chosen_trace == Trace(trace_id="t", generation_id="g", model="m")


def test_a_pair_without_a_name_is_named_by_its_content() -> None:
    assert row("A?").pair_id == row("A?", session="other").pair_id
    assert row("A?").pair_id != row("B?").pair_id


def test_the_digest_ignores_the_order_of_keys_and_the_time_zone() -> None:
    one = plain("A?", at="2026-11-21T10:00:00+02:00")
    other = dict(reversed(plain("A?", at="2026-11-21T08:00:00Z").items()))
    assert PreferenceRow.model_validate(one).digest() == PreferenceRow.model_validate(other).digest()
    assert row("A?").digest() != row("A?", weight=2.0).digest()


def test_a_byte_order_mark_and_crlf_are_taken_off(tmp_path: Path) -> None:
    path = tmp_path / "windows.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + GOOD.encode() + b"\r\n" + GOOD.encode())
    assert len(read_jsonl(path)) == 2


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"", "is empty"),
        (b'{"prompt": [', "is not JSON: Expecting value at column 13"),
        (b"[1]", "is JSON, but no object with columns"),
        (b'{"prompt": 1, "prompt": 2}', "has 'prompt' twice"),
        (b'{"weight": NaN}', "is not JSON: NaN is no JSON number"),
        (b"[" * 100_000, "is not JSON that can be read: nested too deeply"),
        (b'{"weight": ' + b"9" * 5000 + b"}", "Exceeds the limit (4300 digits)"),
        (b"caf\xe9", "is not UTF-8 at byte 4 (0xe9)"),
        (json.dumps(plain("A?", score=1)).encode(), "has an unknown column score"),
        (json.dumps({"prompt": plain("A?")["prompt"]}).encode(), "has no chosen; has no rejected"),
        (json.dumps(plain("A?", prompt="A?")).encode(), "prompt: Input should be a valid list"),
        (json.dumps(plain("A?", prompt=[])).encode(), "prompt: List should have at least 1 item"),
        (json.dumps(plain("A?", weight=-1)).encode(), "weight: Input should be greater than 0"),
        (json.dumps(plain("A?", tools="{")).encode(), "tools is no JSON"),
        (json.dumps(plain("A?", tools="{}")).encode(), "tools is no list"),
        (json.dumps(plain("A?", at="2026-11-21T10:00:00")).encode(), "at: Input should have timezone info"),
        (json.dumps(plain("half \ud800")).encode(), "holds half a character"),
        (
            json.dumps(plain("A?", chosen=[{"role": "user", "content": "me"}])).encode(),
            "chosen starts with a message of the user, not the assistant",
        ),
        (
            json.dumps(plain("A?", chosen=[{"role": "assistant", "content": None}])).encode(),
            "chosen.0: a message needs content or tool_calls",
        ),
    ],
)
def test_a_bad_row_is_named_with_its_line_and_its_reason(tmp_path: Path, line: bytes, reason: str) -> None:
    said = refused(tmp_path / "x.jsonl", GOOD.encode() + b"\n" + line + b"\n" + GOOD.encode() + b"\n")
    assert len(said) == 1
    assert said[0].startswith(f":2: {reason}")


def test_every_bad_row_is_counted_and_none_is_read(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    assert len(refused(path, (GOOD + "\nbroken\n\n").encode() + b"\xff\n")) == 3
    scan = scan_jsonl(path)
    assert [line for line, _ in scan.rows] == [1]
    assert [bad.line for bad in scan.bad] == [2, 3, 4]


def test_a_file_without_rows_and_one_in_utf16_are_refused(tmp_path: Path) -> None:
    assert refused(tmp_path / "x.jsonl", b"") == [": has no rows"]
    assert refused(tmp_path / "x.jsonl", GOOD.encode("utf-16")) == [": is UTF-16; save it as UTF-8"]


def test_many_bad_rows_are_told_in_few_lines(tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_text("broken\n" * 1000)
    with pytest.raises(BadRecords) as caught:
        read_jsonl(tmp_path / "x.jsonl")
    assert str(caught.value).startswith("nothing was read, 1000 rows are bad:\n")
    assert str(caught.value).endswith("and 980 more")


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    write_jsonl(path, [row("Old?")])

    def dying() -> Any:
        yield row("New?")
        raise OSError("no space left on device")

    with pytest.raises(OSError, match="no space"):
        write_jsonl(path, dying())
    assert read_jsonl(path) == [row("Old?")]
    assert list(tmp_path.iterdir()) == [path]
