"""When a pipeline is asked for by itself: at its time, after enough rows, when rows drift; never twice."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from rlhf.errors import PipelineError
from rlhf.jobs import Jobs, State
from rlhf.pipelines.drift import profile, psi
from rlhf.pipelines.schedule import FEW, forget, keep, tick
from tests.rlhf.working import Place, finished

NOON = 1_800_014_400.0
"""12:00 UTC."""
HOUR = 3600.0


NUMBERS = count(1000)


def rows(how_many: int, words: int = 5, source: str = "choice") -> list[dict[str, Any]]:
    """Rows of a length that differ in one word."""
    said = [[{"role": "user", "content": "word " * words + str(next(NUMBERS))}] for _ in range(how_many)]
    return [{"prompt": one, "chosen": one, "rejected": one, "source": source} for one in said]


def append(file: Path, found: list[dict[str, Any]]) -> None:
    with file.open("a") as lines:
        lines.writelines(json.dumps(row) + "\n" for row in found)


def content(tmp: Path, name: str, **schedule: Any) -> dict[str, Any]:
    step = {"kind": "write", "with": {"ledger": str(tmp / "ledger"), "name": name}}
    return {"name": name, "steps": {"a": step}, "schedule": schedule}


def test_the_calendar_asks_once_for_each_time(place: Place, jobs: Jobs, tmp_path: Path) -> None:
    told = keep(tmp_path, content(tmp_path, "daily", cron="30 12 * * *"), {}, NOON)
    assert told == "at 30 12 * * * (UTC)"
    assert tick(tmp_path, jobs, NOON + 0.4 * HOUR) == []
    [first] = tick(tmp_path, jobs, NOON + 0.6 * HOUR)
    assert finished(jobs, first).state is State.DONE
    assert jobs.get(first).title == "daily"
    assert tick(tmp_path, jobs, NOON + 0.7 * HOUR) == []
    [second] = tick(tmp_path, jobs, NOON + 24.6 * HOUR)
    assert second != first


def test_two_workers_ask_for_one_job(jobs: Jobs, tmp_path: Path) -> None:
    for worker in ("one", "two"):
        keep(tmp_path / worker, content(tmp_path, "shared", cron="30 12 * * *"), {}, NOON)
    asked = [tick(tmp_path / worker, jobs, NOON + HOUR) for worker in ("one", "two")]
    assert asked[0] == asked[1]


def test_enough_new_rows_ask_and_are_counted_anew(jobs: Jobs, tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    append(file, rows(7))
    keep(tmp_path, content(tmp_path, "grown", rows=str(file), new_rows=5), {}, NOON)
    append(file, rows(4))
    assert tick(tmp_path, jobs, NOON) == []
    append(file, rows(1))
    [first] = tick(tmp_path, jobs, NOON)
    finished(jobs, first)
    assert tick(tmp_path, jobs, NOON) == []
    append(file, rows(5))
    [second] = tick(tmp_path, jobs, NOON)
    assert second != first
    forget(tmp_path, "grown")
    append(file, rows(50))
    assert tick(tmp_path, jobs, NOON) == []


def test_rows_of_another_kind_ask(jobs: Jobs, tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    append(file, rows(100))
    keep(tmp_path, content(tmp_path, "drifted", rows=str(file), drift=0.25), {}, NOON)
    append(file, rows(FEW))
    assert tick(tmp_path, jobs, NOON) == []
    append(file, rows(2 * FEW, words=400))
    assert len(tick(tmp_path, jobs, NOON)) == 1


def test_a_file_that_is_written_anew_and_sorted_has_only_its_new_rows(jobs: Jobs, tmp_path: Path) -> None:
    """As `annotate pull` leaves it: what is new stands anywhere, and the last lines are old ones."""
    file = tmp_path / "preferences.jsonl"
    old = rows(60, words=400)
    append(file, old)
    keep(tmp_path, content(tmp_path, "sorted", rows=str(file), drift=0.25, new_rows=50), {}, NOON)
    # Ten rows of the old kind before them all: by lines, the old ones at the end would be taken for new.
    file.write_text("")
    append(file, [*rows(10, words=400), *old])
    assert tick(tmp_path, jobs, NOON) == []
    # The same said by somebody else, later and under another name: nothing that was not known.
    append(
        file,
        [
            {**row, "pair_id": f"p{n}", "user": "bo", "at": "2026-11-02T00:00:00Z"}
            for n, row in enumerate(old)
        ],
    )
    assert tick(tmp_path, jobs, NOON) == []
    # Short ones before them: the new rows look other, the last lines do not.
    lines = file.read_bytes()
    file.write_text("")
    append(file, rows(FEW, words=2))
    file.write_bytes(file.read_bytes() + lines)
    [due] = tick(tmp_path, jobs, NOON)
    assert due.startswith("sorted-drift-")
    finished(jobs, due)
    # Rows that go and come back are not new.
    file.write_text("")
    assert tick(tmp_path, jobs, NOON) == []
    file.write_bytes(lines)
    assert tick(tmp_path, jobs, NOON) == []


def test_one_that_cannot_be_looked_at_keeps_no_other_waiting(jobs: Jobs, tmp_path: Path) -> None:
    keep(tmp_path, content(tmp_path, "away", project="nowhere", new_rows=1), {}, NOON)
    keep(tmp_path, content(tmp_path, "punctual", cron="30 12 * * *"), {}, NOON)
    asked = tick(tmp_path, jobs, NOON + HOUR)
    assert [name.split("-")[0] for name in asked] == ["punctual"]


def test_the_index_is_zero_for_the_same_and_grows_with_the_difference() -> None:
    old = profile(rows(100) + rows(100, words=50))
    assert psi(old, old) == (0.0, max(old))
    little = psi(old, profile(rows(110) + rows(90, words=50)))[0]
    much = psi(old, profile(rows(180) + rows(20, words=50)))[0]
    assert 0 < little < 0.1 < 0.25 < much
    assert psi(old, profile(rows(100, source="correction") + rows(100, words=50)))[1] == "source"
    assert psi(old, profile([])) == (0.0, "")


@pytest.mark.parametrize(
    ("schedule", "said"),
    [
        ({}, "one of `cron`, `new_rows`, `drift` and `quality`"),
        ({"cron": "sometimes"}, "`sometimes` is no cron expression"),
        ({"drift": 0.2}, "need `rows`"),
        ({"new_rows": 2, "rows": "a.jsonl", "project": "demo"}, "need `rows`"),
    ],
)
def test_a_schedule_that_makes_no_sense_is_told(tmp_path: Path, schedule: dict[str, Any], said: str) -> None:
    with pytest.raises(PipelineError, match=said):
        keep(tmp_path, content(tmp_path, "bad", **schedule), {})
    with pytest.raises(PipelineError, match="bad does not run by itself"):
        forget(tmp_path, "bad")


def test_a_quality_is_about_an_adapter(tmp_path: Path) -> None:
    with pytest.raises(PipelineError, match=r"`quality` and `adapter`.* go together"):
        keep(tmp_path, content(tmp_path, "mended", quality="worse"), {}, NOON)
    told = keep(tmp_path, content(tmp_path, "mended", quality="worse", adapter="polite"), {}, NOON)
    assert told == "when polite answers worse (worse)"


@contextmanager
def seeing(state: str) -> Iterator[tuple[str, list[str]]]:
    """A gateway that sees an adapter so, and what it was asked with."""
    asked = list[str]()

    class Answers(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(f"{self.path} {self.headers['Authorization']}")
            body = json.dumps({"state": state, "reason": "", "version": f"sha256:{'a' * 64}"}).encode()
            self.send_response(200)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", asked
        server.shutdown()


@pytest.mark.parametrize(
    ("state", "wanted", "due"), [("worse", "worse", 1), ("watch", "worse", 0), ("watch", "watch", 1)]
)
def test_a_worse_adapter_asks_once_a_version(
    jobs: Jobs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, state: str, wanted: str, due: int
) -> None:
    with seeing(state) as (url, asked):
        monkeypatch.setenv("RLHF_GATEWAY_URL", url)
        monkeypatch.setenv("RLHF_GATEWAY_KEY", "ly_key")
        keep(tmp_path, content(tmp_path, f"on-{state}-{wanted}", quality=wanted, adapter="polite"), {}, NOON)
        ids = tick(tmp_path, jobs, NOON)
        assert len(ids) == due
        assert asked[0] == "/api/v1/quality/polite Bearer ly_key"
        for job_id in ids:
            jobs.cancel(job_id)
        assert tick(tmp_path, jobs, NOON) == []
