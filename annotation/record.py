"""What is known of one annotation project, on disk: its tasks, rows that need nobody, and judgements.

    FOLDER/tasks.jsonl        every task that was ever pushed, with the traces that annotators never see
    FOLDER/direct.jsonl       preference rows that users gave themselves (thumbs, corrections)
    FOLDER/thumbs.jsonl       answers that users liked or disliked, as rows of their own
    FOLDER/judgements.jsonl   as Label Studio has them now
    FOLDER/withdrawn.jsonl    judgements that Label Studio had once and has no more
    FOLDER/preferences.jsonl  the rows of all that
    FOLDER/scored.json        which scores of the judgements the trace store has, each with a digest
    FOLDER/leaving.json       ids of tasks that are forgotten here and that Label Studio may still have

Every file appears as a whole or stays as it was.
"""

import fcntl
import json
import shutil
import time
from collections.abc import Iterable, Iterator, Sequence, Set
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, TypeVar

from pydantic import BaseModel, ValidationError

from annotation.errors import BadPairs, RecordError
from annotation.quality import newest
from annotation.tasks import Judgement, Task, preferences
from rlhf.errors import BadRecords
from rlhf.records import PreferenceRow, Trace, read_jsonl, write_atomically, write_jsonl
from rlhf.shapes import KtoRow

Model = TypeVar("Model", bound=BaseModel)
LEAVING, SCORED = "leaving.json", "scored.json"
PATIENCE = 60.0
"""Seconds that a command waits for another one."""
MEND = "Make room or mend the folder's rights, then run the command again: nothing is lost or done twice."


@dataclass(frozen=True)
class Removed:
    """What a record held of a user: tasks, judgements of them, and rows that the user gave themselves."""

    tasks: int = 0
    judgements: int = 0
    rows: int = 0


class Record:
    """The record of one project. Raises RecordError, from every method."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Hold the record while it is brought up to date; another command waits, but not for ever."""
        with self._writing():
            self.folder.mkdir(parents=True, exist_ok=True)
            handle = (self.folder / ".lock").open("w")
        with handle:
            until = time.monotonic() + PATIENCE
            while not _locked(handle):
                if time.monotonic() > until:
                    text = f"another command is at work on {self.folder}"
                    raise RecordError(text, "Wait until it has ended, and try again.")
                time.sleep(0.1)
            yield

    def tasks(self) -> list[Task]:
        """Every task, in the order of its coming."""
        return self._read("tasks.jsonl", Task)

    def add_tasks(self, tasks: Iterable[Task]) -> int:
        """Keep tasks that are new; gives how many those are. A task never changes once it is known."""
        known = {task.task_id: task for task in self.tasks()}
        before, leaving = len(known), self.leaving()
        for task in tasks:
            if task.task_id not in leaving:
                known.setdefault(task.task_id, task)
        if len(known) > before:
            self._write("tasks.jsonl", (task.plain() for task in known.values()))
        return len(known) - before

    def judgements(self) -> list[Judgement]:
        """As they were pulled last."""
        return self._read("judgements.jsonl", Judgement)

    def set_judgements(self, judgements: Sequence[Judgement]) -> None:
        """Replace the judgements, and keep those that are gone in a file of their own."""
        leaving = self.leaving()
        judgements = [one for one in judgements if one.task_id not in leaving]
        gone = [one for one in self.judgements() if _key(one) not in set(map(_key, judgements))]
        if gone:
            kept = [*self._read("withdrawn.jsonl", Judgement), *gone]
            self._write("withdrawn.jsonl", (one.model_dump(mode="json") for one in kept))
        self._write("judgements.jsonl", (one.model_dump(mode="json") for one in judgements))
        with self._writing():
            write_jsonl(self.folder / "preferences.jsonl", self.rows())

    def direct(self) -> list[PreferenceRow]:
        """Rows that users gave themselves."""
        path = self.folder / "direct.jsonl"
        if not path.exists() or not path.stat().st_size:
            return []
        try:
            return read_jsonl(path)
        except (BadRecords, OSError) as error:
            raise RecordError(f"{path}: {error}", "Mend or delete the file.") from error

    def set_direct(self, rows: Iterable[PreferenceRow], without: Set[str] = frozenset()) -> int:
        """Keep such rows, each over the one of its name, but none of some names; gives how many are new."""
        known = {row.pair_id: row for row in self.direct()}
        before = len(known)
        known |= {row.pair_id: row for row in rows}
        known = {name: row for name, row in known.items() if name not in without}
        with self._writing():
            write_jsonl(self.folder / "direct.jsonl", known.values())
        return len(known) - before

    def thumbs(self) -> list[KtoRow]:
        """Answers that users liked or disliked."""
        return self._read("thumbs.jsonl", KtoRow)

    def set_thumbs(self, rows: Iterable[KtoRow], seen: Set[str]) -> None:
        """Keep such rows in the place of all that are of the traces that were `seen`."""
        kept = [row for row in self.thumbs() if row.trace is None or row.trace.trace_id not in seen]
        self._write("thumbs.jsonl", (row.plain() for row in sorted([*kept, *rows], key=KtoRow.line)))

    def rows(self) -> list[PreferenceRow]:
        """Every row that the project gives, in an order that hangs on the content alone."""
        tasks = {task.task_id: task for task in self.tasks()}
        judged = [one for one in newest(self.judgements()) if one.task_id in tasks]
        rows = [row for one in judged for row in preferences(tasks[one.task_id], one)]
        return sorted([*self.direct(), *rows], key=PreferenceRow.line)

    def leaving(self) -> set[str]:
        """Ids of tasks that are forgotten here, and that Label Studio may still have."""
        return set(self._json(LEAVING) or [])

    def scored(self) -> dict[str, str]:
        """Ids of the scores that the trace store has of the judgements, each with a digest of it."""
        return dict(self._json(SCORED) or {})

    def set_scored(self, digests: dict[str, str]) -> None:
        """Note what the trace store has now."""
        with self._writing():
            write_atomically(self.folder / SCORED, [json.dumps(digests).encode()])

    def forget(self, user: str, traces: frozenset[str]) -> Removed:
        """Remove what was made of a user's words: tasks, what was said of them, rows. To be held `alone`.

        What was pushed is noted first and the tasks go last, so that a crash leaves nothing to be overlooked.

        Args:
            traces: ids of traces that the user took part in.
        """
        tasks, direct = self.tasks(), self.direct()
        theirs = {t.task_id for t in tasks if t.user == user or _from(traces, t.left.trace, t.right.trace)}
        rows = [row for row in direct if not _gave(row, user, traces)]
        liked = self.thumbs()
        thumbs = [row for row in liked if row.user != user and not _from(traces, row.trace)]
        gone = len(direct) - len(rows) + len(liked) - len(thumbs)
        if not theirs and not gone:
            return Removed()
        with self._writing():
            for torn in self.folder.glob(".*.jsonl.*"):
                torn.unlink()  # of a command that was killed while it wrote
            if theirs:
                leaving = json.dumps(sorted(self.leaving() | theirs))
                write_atomically(self.folder / LEAVING, [leaving.encode()])
        judgements = sum(self._without(name, theirs) for name in ("judgements.jsonl", "withdrawn.jsonl"))
        with self._writing():
            left = [row for row in self.rows() if not _gave(row, user, traces)]
            write_jsonl(self.folder / "preferences.jsonl", left)
            write_jsonl(self.folder / "direct.jsonl", rows)
        if len(thumbs) < len(liked):
            self._write("thumbs.jsonl", (row.plain() for row in thumbs))
        self._write("tasks.jsonl", (task.plain() for task in tasks if task.task_id not in theirs))
        return Removed(len(theirs), judgements, gone)

    def drop(self) -> None:
        """Forget everything."""
        with self._writing():
            if self.folder.exists():
                shutil.rmtree(self.folder)

    def gone(self) -> None:
        """Note that Label Studio has none of those that were leaving."""
        with self._writing():
            (self.folder / LEAVING).unlink(missing_ok=True)

    def _without(self, name: str, tasks: set[str]) -> int:
        before = self._read(name, Judgement)
        kept = [one for one in before if one.task_id not in tasks]
        if len(kept) < len(before):
            self._write(name, (one.model_dump(mode="json") for one in kept))
        return len(before) - len(kept)

    def _json(self, name: str) -> Any:
        """What a file holds; None where there is none."""
        path = self.folder / name
        try:
            return json.loads(path.read_text()) if path.exists() else None
        except (OSError, ValueError) as error:
            raise RecordError(f"{path} cannot be read: {error}", "Restore the file.") from error

    def _read(self, name: str, model: type[Model]) -> list[Model]:
        path = self.folder / name
        try:
            return read_models(path, model) if path.exists() else []
        except (BadPairs, OSError) as error:
            text = f"the record is damaged: {error}"
            raise RecordError(text, "Mend the line or restore the file.") from error

    def _write(self, name: str, rows: Iterable[object]) -> None:
        with self._writing():
            lines = (json.dumps(row, ensure_ascii=False).encode() + b"\n" for row in rows)
            write_atomically(self.folder / name, lines)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            text = f"{self.folder} cannot be written: {error.strerror or error}"
            raise RecordError(text, MEND) from error


def read_models(path: Path, model: type[Model]) -> list[Model]:
    """Every line of a file of JSON lines.

    Raises:
        BadPairs: a line is no such object; names each.
        OSError: the file cannot be read.
    """
    found, faults = [], []
    for number, line in enumerate(path.read_bytes().split(b"\n"), 1):
        if not line.strip():
            continue
        try:
            found.append(model.model_validate_json(line))
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"]))
            faults.append(f"line {number}: {where + ': ' if where else ''}{first['msg']}")
    if faults:
        raise BadPairs(path, faults)
    return found


def _locked(handle: IO[str]) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _from(traces: frozenset[str], *named: Trace | None) -> bool:
    return any(trace is not None and trace.trace_id in traces for trace in named)


def _gave(row: PreferenceRow, user: str, traces: frozenset[str]) -> bool:
    return row.user == user or _from(traces, row.chosen_trace, row.rejected_trace)


def _key(judgement: Judgement) -> tuple[str, str]:
    return judgement.task_id, judgement.annotator
