"""What a file is: by content, with the byte or the line where it is wrong, within limits."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow
import pytest
from pyarrow import parquet

from rlhf.data import inspect as module
from rlhf.data.inspect import inspect
from rlhf.data.read import read_files
from rlhf.data.texts import asked
from rlhf.data.tokens import Tokens
from rlhf.errors import DatasetError
from rlhf.methods import STARTER
from tests.rlhf.rows import plain


def written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def test_columns_missing_values_and_text_are_counted(tmp_path: Path) -> None:
    rows = [{"text": "one two", "label": "a"}, {"text": "four", "label": None}, {"text": "x", "size": 3}]
    found = inspect(written(tmp_path / "f", "\n".join(map(json.dumps, rows)).encode()))
    assert (found["format"], found["rows"], found["shape"]) == ("jsonl", 3, "labels")
    text, label, size = found["columns"]
    assert (text["missing"], text["distinct"], text["type"]) == (0, 3, "string")
    counts = {"characters": 12, "words": 4, "shortest": 1, "longest": 7, "mean": 4.0, "tokens": 4}
    assert text["text"] == counts
    assert found["tokens_by"] == "estimate: 4 characters a token"
    exact = inspect(tmp_path / "f", Tokens(STARTER))
    assert exact["tokens_by"] == Tokens(STARTER).by
    assert exact["columns"][0]["text"]["tokens"] == sum(map(Tokens(STARTER).count, ("one two", "four", "x")))
    assert (label["missing"], size["missing"], size["type"], size["text"]) == (2, 2, "integer", None)


@pytest.mark.parametrize(
    ("content", "format_"), [(b'\xef\xbb\xbf{"a": 1}\n', "jsonl"), (b"a;b\n1;2\n", "csv")]
)
def test_the_format_is_what_the_content_is(tmp_path: Path, content: bytes, format_: str) -> None:
    found = inspect(written(tmp_path / "misleading.pdf", content))
    assert (found["format"], found["rows"]) == (format_, 1)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is empty"),
        (b'[{"a": 1}]', "is one JSON list"),
        (b"PK\x03\x04rest", "is a ZIP archive"),
        (b"\x1f\x8brest", "packed with gzip"),
        ("a,b\n1,2\n".encode("utf-16"), "UTF-16 from byte 0"),
        ("a,b\n1,2\n".encode("utf-16-le"), "has a zero at byte 1"),
        (b"a,b\nna\xefve,2\n", r"is not UTF-8 at byte 6 \(0xef\)"),
        ("a,b\né,".encode() + "é\n".encode("latin-1"), r"mixes encodings: .* at byte 7 \(0xe9\)"),
        (b"a,b\n1," + "é".encode()[:1], r"at byte 6 \(0xc3\)"),
        (b"a,b\n", "has no rows"),
        (b'{"a": \n{"b"', "line 1: is not JSON"),
        (b"a,a\n1,2\n", "must name every column, each once"),
        (b'a,b\n"open,2\n', "line 2 is not CSV"),
        (b"PAR1 but not really", "is no Parquet file"),
    ],
)
def test_what_cannot_be_read_is_refused_with_the_place(tmp_path: Path, content: bytes, reason: str) -> None:
    with pytest.raises(DatasetError, match=reason):
        inspect(written(tmp_path / "f", content))


def test_the_byte_is_counted_across_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BLOCK", 7)
    text = b"a,b\n" + "éé".encode() * 50
    with pytest.raises(DatasetError, match=rf"mixes encodings: .* at byte {len(text)} \(0xff\)"):
        inspect(written(tmp_path / "f", text + b"\xff,1\n"))
    assert inspect(written(tmp_path / "g", text + b",1\n"))["rows"] == 1


def test_rows_that_cannot_be_read_are_named_and_the_others_counted(tmp_path: Path) -> None:
    found = inspect(written(tmp_path / "f", b'{"a": 1}\nnonsense\n\n{"a": 2}\n[1]\n'))
    assert found["rows"] == 2
    assert found["unreadable"]["rows"] == 3
    assert [one.split(":")[0] for one in found["unreadable"]["examples"]] == ["line 2", "line 3", "line 5"]


def test_too_many_columns_and_too_much_text_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wide = ",".join(f"c{i}" for i in range(1001)) + "\n" + "1," * 1000 + "1\n"
    with pytest.raises(DatasetError, match="more than 1000 columns"):
        inspect(written(tmp_path / "f", wide.encode()))
    with pytest.raises(DatasetError, match="field larger than field limit"):
        inspect(written(tmp_path / "f", b"a,b\n" + b"x" * (5 << 20) + b",1\n"))
    with pytest.raises(DatasetError, match="line 2 is longer than 16 MB"):
        inspect(written(tmp_path / "f", b'{"a": 1}\n{"a": "' + b"x" * (17 << 20)))
    monkeypatch.setattr(module, "TEXT", 1 << 20)
    bomb = pyarrow.table({"text": pyarrow.array(["x" * 10_000]).take(pyarrow.array([0] * 1000))})
    parquet.write_table(bomb, tmp_path / "bomb", compression="zstd", use_dictionary=True)
    assert (tmp_path / "bomb").stat().st_size < 100_000
    with pytest.raises(DatasetError, match="more than 1 million characters"):
        inspect(tmp_path / "bomb")


def test_parquet_rows_are_preferences_with_nulls_left_out(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [plain("one"), plain("two", user="ann", source="thumbs")]
    parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "a.parquet")
    texts = [{"prompt": "why", "chosen": "so", "rejected": "no", "user": None}]
    parquet.write_table(pyarrow.Table.from_pylist(texts), tmp_path / "b.parquet")
    assert inspect(tmp_path / "a.parquet")["shape"] == "preference"
    read = read_files([tmp_path / "a.parquet", tmp_path / "b.parquet"])
    assert not read.bad
    assert [asked(one.row)[0].content for one in read.placed] == ["one", "two", "why"]
    wrong = [{"prompt": "why", "chosen": "so", "rejected": None}]
    parquet.write_table(pyarrow.Table.from_pylist(wrong), tmp_path / "c.parquet")
    bad = read_files([tmp_path / "c.parquet"]).bad
    assert str(bad[0]).endswith("c.parquet:1: has no rejected")


def test_a_file_that_wants_too_much_memory_ends_the_child_alone(tmp_path: Path) -> None:
    bomb = pyarrow.table({"text": pyarrow.array(["x" * 2_000_000]).take(pyarrow.array([0] * 600))})
    parquet.write_table(bomb, tmp_path / "bomb", compression="zstd", row_group_size=600)
    command = [sys.executable, "-m", "rlhf", "dataset", "inspect", str(tmp_path / "bomb"), "--memory", "900"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 1
    assert "memory" in done.stderr
