"""Hashes of weight files: of every byte, and remembered only for as long as they hold."""

import hashlib
import os
import time
from pathlib import Path

import pytest

from llm_server.convert.digest import weights_sha256


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Four megabytes that were written some time ago."""
    monkeypatch.setenv("LOOPYARD_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "weights.gguf"
    path.write_bytes(os.urandom(4 << 20))
    return path


def notes(file: Path) -> list[Path]:
    return list((file.parent / "cache" / "digests").glob("*"))


def settle() -> None:
    """Let the last write lie back far enough."""
    time.sleep(2.1)


def flip_middle(file: Path) -> None:
    with file.open("r+b") as content:
        content.seek(2 << 20)
        byte = content.read(1)
        content.seek(2 << 20)
        content.write(bytes([byte[0] ^ 1]))


def test_a_byte_in_the_middle_makes_another_hash(file: Path) -> None:
    before = weights_sha256(file)
    assert before == hashlib.sha256(file.read_bytes()).hexdigest()
    flip_middle(file)
    assert weights_sha256(file) == hashlib.sha256(file.read_bytes()).hexdigest() != before
    assert not notes(file)


def test_what_is_remembered_is_forgotten_with_the_file(file: Path) -> None:
    settle()
    before = weights_sha256(file, large=1)
    (note,) = notes(file)
    # It is asked, and it is right.
    other = "0" * 64
    note.write_text(note.read_text().replace(before, other))
    assert weights_sha256(file, large=1) == other
    # Changed in place, with its size and time of modification as they were.
    times = file.stat()
    flip_middle(file)
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert weights_sha256(file, large=1) == hashlib.sha256(file.read_bytes()).hexdigest()
    assert len(notes(file)) == 1


def test_what_was_written_a_moment_ago_is_not_remembered(file: Path) -> None:
    weights_sha256(file, large=1)
    assert not notes(file)


@pytest.mark.parametrize(
    "wreck", ["", "{}", "[]", '{"stamp": [1], "sha256": "xyz"}', '{"stamp": 3, "sha256": 1}']
)
def test_a_note_that_cannot_be_read_is_made_anew(file: Path, wreck: str) -> None:
    settle()
    right = weights_sha256(file, large=1)
    (note,) = notes(file)
    note.write_text(wreck)
    assert weights_sha256(file, large=1) == right
    assert right in note.read_text()


def test_a_cache_that_takes_nothing_is_not_missed(file: Path) -> None:
    (file.parent / "cache").write_text("a file where the folder should be")
    settle()
    assert weights_sha256(file, large=1) == hashlib.sha256(file.read_bytes()).hexdigest()
