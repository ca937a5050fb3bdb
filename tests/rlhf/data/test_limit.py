"""More rows than may be read at once are refused unread, with size and remedy; nothing is written."""

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from rlhf.data.read import read_files
from rlhf.errors import DatasetError
from tests.rlhf.rows import rows

MEMORY = 1 << 30
"""Bytes of address space: less than the file."""


def dataset(*verb: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """`python -m rlhf dataset` in little memory."""
    return subprocess.run(
        [sys.executable, "-m", "rlhf", "dataset", *verb],
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1", **settings},
        capture_output=True,
        text=True,
        timeout=110,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY)),
    )


@pytest.mark.parametrize("verb", ["build", "check"])
def test_two_gigabytes_are_refused_unread(tmp_path: Path, verb: str) -> None:
    with (tmp_path / "huge.jsonl").open("wb") as file:
        file.truncate(2 << 30)
    out = ["--out", str(tmp_path / "out")] if verb == "build" else []
    done = dataset(verb, str(tmp_path / "huge.jsonl"), *out)
    assert done.returncode == 1
    said = " ".join(done.stderr.split())
    assert "huge.jsonl has 2,048.0 MB; at most 500 MB are read at once: split it up" in said
    assert "set RLHF_ROWS_MEGABYTES to more" in said
    assert "Traceback" not in said
    assert [path.name for path in tmp_path.iterdir()] == ["huge.jsonl"]


def test_the_limit_is_a_setting_and_counts_all_files(tmp_path: Path) -> None:
    line = "".join(row.line() + "\n" for row in rows(20))
    files = [tmp_path / "one.jsonl", tmp_path / "two.jsonl"]
    for file in files:
        # Spaces after a row are none of it.
        file.write_text(line.replace("}\n", "}" + " " * (600 << 10) + "\n", 1))
    verb = ["build", *map(str, files), "--out", str(tmp_path / "out")]
    done = dataset(*verb, RLHF_ROWS_MEGABYTES="1")
    assert done.returncode == 1
    said = " ".join(done.stderr.split())
    assert "has 0.6 MB, 1.2 MB with the other files; at most 1 MB are read at once" in said
    assert not (tmp_path / "out").exists()
    assert dataset(*verb, RLHF_ROWS_MEGABYTES="2").returncode == 0
    assert (tmp_path / "out" / "manifest.json").is_file()


def test_a_file_of_just_the_limit_is_read(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    line = rows(1)[0].line().encode()
    file.write_bytes(line + b" " * ((1 << 20) - len(line)))
    read = read_files([file], megabytes=1)
    assert (len(read.placed), read.bad) == (1, [])
    with file.open("ab") as more:
        more.write(b" ")
    with pytest.raises(DatasetError, match="at most 1 MB"):
        read_files([file], megabytes=1)
    with pytest.raises(DatasetError, match=r"nowhere\.jsonl cannot be read: No such file"):
        read_files([tmp_path / "nowhere.jsonl"], megabytes=1)
