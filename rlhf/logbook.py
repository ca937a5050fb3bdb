"""What a job says while it runs: log lines that are numbered without a gap, and how far it is. Free of torch.

JOBS/logs/<id>.jsonl is only ever appended to, by several processes at once; JOBS/progress/<id>.json is
replaced. A writer that is killed leaves whole lines: what is torn is cut off by the next one.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

TAIL = 2**16
INFO, WARNING, ERROR = "info", "warning", "error"


@dataclass(frozen=True)
class LogLine:
    """One line.

    Attributes:
        seq: 1 for the first line of a job, one more for each that follows.
        at: Unix time in seconds.
        level: `info` (standard output), `warning` (standard error) or `error`.
        step: the pipeline's step that said it, empty for the job itself.
    """

    seq: int
    at: float
    level: str
    text: str
    step: str = ""


@dataclass(frozen=True)
class Progress:
    """How far something is.

    Attributes:
        done: 0 to 1.
        text: in a few words, such as `step 12 of 60, loss 0.41`.
        rate: units a second, as `text` counts them; None where nothing is counted.
        left_s: seconds to go, None where nobody knows.
    """

    done: float
    text: str = ""
    rate: float | None = None
    left_s: float | None = None


class Logbook:
    """The logs and the progress of a jobs folder. Ids are the caller's to check: they become file names."""

    def __init__(self, folder: Path) -> None:
        self.logs, self.states = folder / "logs", folder / "progress"
        self._read: dict[str, tuple[int, int]] = {}

    def write(self, job_id: str, text: str, level: str = INFO, step: str = "") -> int:
        """Append a line; its number. OSError where the disk is full: then nothing has been appended."""
        self.logs.mkdir(parents=True, exist_ok=True)
        with _exclusive(self.logs / f"{job_id}.jsonl") as file:
            end, seq = _mend(file)
            line = {"seq": seq + 1, "at": round(time.time(), 3), "level": level, "text": text, "step": step}
            data = json.dumps(line, ensure_ascii=False).encode() + b"\n"
            try:
                if os.write(file, data) != len(data):
                    raise OSError(f"no room for the log of {job_id}")
            except OSError:
                os.ftruncate(file, end)
                raise
            return seq + 1

    def read(self, job_id: str, after: int = 0) -> Sequence[LogLine]:
        """Every whole line whose number is greater than `after`."""
        seq, offset = self._read.get(job_id, (0, 0))
        if seq > after:
            offset = 0
        try:
            with (self.logs / f"{job_id}.jsonl").open("rb") as file:
                file.seek(offset)
                content = file.read()
        except FileNotFoundError:
            return []
        whole = content[: content.rfind(b"\n") + 1]
        lines = [LogLine(**json.loads(line)) for line in whole.splitlines()]
        if lines:
            # Where the next reader of newer lines begins.
            self._read[job_id] = (lines[-1].seq, offset + len(whole))
        return [line for line in lines if line.seq > after]

    def erase(self, job_id: str) -> None:
        """Forget what a job and its steps said."""
        (self.logs / f"{job_id}.jsonl").unlink(missing_ok=True)
        for file in (self.states / f"{job_id}.json", *self.states.glob(f"{job_id}.*.json")):
            file.unlink(missing_ok=True)

    def advance(self, job_id: str, progress: Progress) -> None:
        """Say how far a job, or a step of one, is."""
        self.states.mkdir(parents=True, exist_ok=True)
        partial = self.states / f".{job_id}.{os.getpid()}.partial"
        partial.write_text(json.dumps(asdict(progress)))
        partial.replace(self.states / f"{job_id}.json")

    def progress(self, job_id: str) -> Progress | None:
        """How far it is, None where it has not said anything."""
        try:
            found: dict[str, Any] = json.loads((self.states / f"{job_id}.json").read_text())
        except FileNotFoundError:
            return None
        return Progress(**found)


@contextmanager
def _exclusive(path: Path) -> Iterator[int]:
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield file
    finally:
        os.close(file)


def _mend(file: int) -> tuple[int, int]:
    """Cut off what has no end; the file's size and the number of its last line."""
    size = os.fstat(file).st_size
    reach = TAIL
    while size:
        start = max(0, size - reach)
        tail = os.pread(file, size - start, start)
        end = tail.rfind(b"\n") + 1
        begin = tail.rfind(b"\n", 0, max(0, end - 1)) + 1
        if start and (not end or not begin):
            reach *= 4  # a line that is longer than what was looked at
            continue
        if start + end < size:
            os.ftruncate(file, start + end)
        return start + end, int(json.loads(tail[begin:end])["seq"]) if end else 0
    return 0, 0
