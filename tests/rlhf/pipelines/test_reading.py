"""Files of rows are copied and read within bounds: a large one is refused unread, a long one is streamed."""

from pathlib import Path
from typing import Any

import pytest

from rlhf.jobs import Job, Jobs, Kind, State
from tests.rlhf.rows import plain
from tests.rlhf.working import Place, finished

SMALL = 200
"""Megabytes that the step may have: enough to begin, less than the file."""


def sparse(path: Path, megabytes: int) -> Path:
    """A file that takes no room on the disk."""
    with path.open("wb") as file:
        file.truncate(megabytes << 20)
    return path


def collected(jobs: Jobs, rows: Path, **more: Any) -> Job:
    step = {"kind": "collect", "with": {"rows": str(rows)}, "memory_mb": SMALL, **more}
    return finished(jobs, jobs.ask(Kind.PIPELINE, {"name": "collecting", "steps": {"collect": step}}, {}))


def test_two_gigabytes_are_refused_with_size_and_remedy(place: Place, jobs: Jobs, tmp_path: Path) -> None:
    job = collected(jobs, sparse(tmp_path / "huge.jsonl", 2048))
    assert job.state is State.FAILED
    assert "huge.jsonl has 2,048.0 MB; at most 500 MB are read at once" in job.error
    assert "set RLHF_ROWS_MEGABYTES to more" in job.error
    assert not list((place.root / "objects").rglob("*.partial"))


def test_a_long_file_is_copied_without_being_held_in_memory(jobs: Jobs, tmp_path: Path) -> None:
    job = collected(jobs, sparse(tmp_path / "long.jsonl", SMALL + 50))
    assert job.state is State.DONE, job.error
    copy = Path(job.result["collect"]["rows"]["path"])
    assert copy.stat().st_size == (SMALL + 50) << 20
    copy.unlink()


@pytest.mark.parametrize("name", ["rows.jsonl", "nowhere.jsonl"])
def test_what_is_there_is_collected_and_what_is_not_is_named(jobs: Jobs, tmp_path: Path, name: str) -> None:
    (tmp_path / "rows.jsonl").write_text(f"{plain('one', good='two')}\n")
    job = collected(jobs, tmp_path / name)
    if name == "rows.jsonl":
        assert Path(job.result["collect"]["rows"]["path"]).read_bytes() == (tmp_path / name).read_bytes()
    else:
        assert f"there are no rows in {tmp_path / name}; set the parameter `rows`" in job.error
