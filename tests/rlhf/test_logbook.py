"""Log lines are numbered without a gap, whoever writes and whoever dies."""

import subprocess
import sys
from pathlib import Path

import pytest

from rlhf.logbook import TAIL, Logbook, Progress


def numbers(book: Logbook, after: int = 0) -> list[int]:
    return [line.seq for line in book.read("job", after)]


def test_lines_are_numbered_from_one_and_read_from_where_the_reader_was(tmp_path: Path) -> None:
    book = Logbook(tmp_path)
    assert book.read("job") == []
    assert [book.write("job", text, step="train") for text in ("a", "b\nc", "ü")] == [1, 2, 3]
    assert [(line.seq, line.text, line.step) for line in book.read("job", 1)] == [
        (2, "b\nc", "train"),
        (3, "ü", "train"),
    ]
    assert numbers(book, 3) == []
    book.write("job", "d", level="error")
    assert numbers(book, 3) == [4]
    assert numbers(book) == [1, 2, 3, 4]


@pytest.mark.parametrize("torn", [b"{", b'{"seq": 4, "at"', b"x" * TAIL * 2])
def test_a_torn_line_is_never_read_and_cut_off_by_the_next(tmp_path: Path, torn: bytes) -> None:
    book = Logbook(tmp_path)
    for number in range(3):
        book.write("job", str(number) * TAIL)
    with (book.logs / "job.jsonl").open("ab") as file:
        file.write(torn)
    assert numbers(book) == [1, 2, 3]
    assert book.write("job", "next") == 4
    assert numbers(Logbook(tmp_path)) == [1, 2, 3, 4]


def test_several_processes_write_one_log_without_a_gap(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from rlhf.logbook import Logbook\n"
        "for n in range(200): Logbook(Path(sys.argv[1])).write('job', str(n))"
    )
    writers = [subprocess.Popen([sys.executable, "-c", code, str(tmp_path)]) for _ in range(3)]
    assert [writer.wait(60) for writer in writers] == [0, 0, 0]
    assert numbers(Logbook(tmp_path)) == list(range(1, 601))


def test_progress_is_what_was_said_last(tmp_path: Path) -> None:
    book = Logbook(tmp_path)
    assert book.progress("job") is None
    book.advance("job", Progress(0.1, "step 1 of 10", 2.0, 4.5))
    book.advance("job", Progress(1.0, "done"))
    assert book.progress("job") == Progress(1.0, "done")
