"""Two answers side by side, judged blind by people; their judgements as rows to train on."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any, TypeVar

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from annotation.errors import AnnotationError
from annotation.pair_files import read_tasks
from annotation.places import Places
from annotation.pull import pull
from annotation.push import place, repeated
from annotation.quality import quality
from annotation.scores import Score, scores_of
from annotation.tasks import Judgement, Task, preferences
from gateway.accounts.store import ApiKey
from gateway.annotation import store
from gateway.annotation.schemas import (
    Format,
    JudgementIn,
    JudgementOut,
    Next,
    Progress,
    SideOut,
    Standing,
    TaskOut,
    Uploaded,
)
from gateway.annotation.store import AnnotationJudgement, AnnotationTask
from gateway.db.database import Database, unbroken
from gateway.errors import BadRequest, Conflict, NotFound, TooLarge, UpstreamFailed
from gateway.policy import Caller
from gateway.projects.store import Project
from gateway.scores.service import ScoreOutbox
from gateway.trace_view.store import owners
from rlhf.data.export import FITS, WRITERS
from rlhf.records import PreferenceRow

T = TypeVar("T")
MOST_BYTES = 32 << 20
"""Largest file of pairs."""
MOST_TASKS = 20_000
"""Most tasks of a project: quality and export read them all."""


class Annotations:
    """`places`: where Label Studio is, and the records of what came from there and from traces."""

    def __init__(self, database: Database, outbox: ScoreOutbox, places: Places) -> None:
        self._database = database
        self._outbox = outbox
        self._places = places

    async def upload(self, project_id: str, content: bytes, name: str, again: float = 0.0) -> Uploaded:
        """All pairs of a file, or none. Raises BadRequest naming each bad line, TooLarge, Conflict."""
        if len(content) > MOST_BYTES:
            raise TooLarge(f"A file of pairs may have {MOST_BYTES >> 20} MB.")
        tasks = await asyncio.to_thread(_read, content, name)
        if again:
            tasks = sorted(repeated(tasks, again), key=place)
        return await self.add(project_id, tasks)

    async def add(self, project_id: str, tasks: Sequence[Task]) -> Uploaded:
        """Those that are new, in the order in which they are to be judged. Raises TooLarge, Conflict."""
        return await _twice(lambda: self._add(project_id, tasks))

    @unbroken
    async def _add(self, project_id: str, tasks: Sequence[Task]) -> Uploaded:
        async with self._database.write() as session:
            known = await store.named(session, project_id)
            fresh = [task for task in tasks if task.task_id not in known]
            if other := next((t for t in tasks if known.get(t.task_id, t.pair) != t.pair), None):
                raise Conflict(f"The task {other.task_id!r} is here already, with other answers.")
            if len(known) + len(fresh) > MOST_TASKS:
                raise TooLarge(f"A project may have {MOST_TASKS} tasks; {len(known)} are here.")
            rows = [
                AnnotationTask(project_id=project_id, name=task.task_id, pair=task.pair, task=task.plain())
                for task in fresh
            ]
            session.add_all(rows)
        return Uploaded(added=len(fresh), known=len(tasks) - len(fresh))

    @unbroken
    async def next(self, caller: Caller, project_id: str, skipped: bool) -> Next:
        """A task that the caller has not judged; with `skipped`, one that they put off."""
        find = store.skipped if skipped else store.unseen
        async with self._database.read() as session:
            row = await find(session, project_id, caller.key_id)
            progress = _progress(
                await store.count(session, project_id), await store.said(session, project_id, caller.key_id)
            )
        return Next(task=_shown(row) if row else None, progress=progress)

    async def judge(
        self, caller: Caller, project_id: str, task_id: str, given: JudgementIn | None
    ) -> Progress:
        """Keeps a judgement over the caller's former one; None skips. Raises NotFound."""
        progress = await _twice(lambda: self._judge(caller, project_id, task_id, given))
        await self._outbox.spool()
        return progress

    @unbroken
    async def _judge(
        self, caller: Caller, project_id: str, task_id: str, given: JudgementIn | None
    ) -> Progress:
        async with self._database.write() as session:
            task = await store.task(session, project_id, task_id)
            if task is None:
                raise NotFound(f"No task {task_id!r} in this project.")
            row = await store.own(session, task_id, caller.key_id)
            if row is None:
                row = AnnotationJudgement(task_id=task_id, annotator=caller.key_id, user_id=caller.user_id)
                session.add(row)
            before = await _scores(session, task, row)
            row.choice = given.choice if given else None
            row.reasons = list(given.reasons) if given else []
            row.comment = given.comment if given else ""
            row.correction = given.correction if given else None
            row.left_stars = given.left_stars if given else None
            row.right_stars = given.right_stars if given else None
            row.seconds = given.seconds if given else None
            row.updated_at = datetime.now(UTC)
            await session.flush()
            after = await _scores(session, task, row)
            self._outbox.note(session, after, [] if after else [score["id"] for score in before])
            said = await store.said(session, project_id, caller.key_id)
            return _progress(await store.count(session, project_id), said)

    async def undo(self, caller: Caller, project_id: str) -> Next:
        """Takes the caller's last judgement back, and gives its task and its words again. Raises NotFound."""
        again = await self._undo(caller, project_id)
        await self._outbox.spool()
        return again

    @unbroken
    async def _undo(self, caller: Caller, project_id: str) -> Next:
        async with self._database.write() as session:
            found = await store.last(session, project_id, caller.key_id)
            if found is None:
                raise NotFound("There is nothing to take back.")
            task, judgement = found
            before = _judged(judgement) if judgement.choice else None
            gone = await _scores(session, task, judgement)
            self._outbox.note(session, [], [score["id"] for score in gone])
            await session.delete(judgement)
            await session.flush()
            said = await store.said(session, project_id, caller.key_id)
            progress = _progress(await store.count(session, project_id), said)
        return Next(task=_shown(task), judgement=before, progress=progress)

    @unbroken
    async def forget(self, user: str, traces: frozenset[str]) -> tuple[int, int]:
        """How many tasks and judgements went with a user, of all projects."""
        async with self._database.write() as session:
            return await store.forget(session, user, traces)

    async def quality(self, project_id: str) -> dict[str, Any]:
        """As annotation.quality has it; annotators go by the names of their keys."""
        tasks, judgements, names = await self._all(project_id)
        found = await asyncio.to_thread(quality, tasks, judgements)
        people = found.pop("annotators")
        shown = [{"name": names.get(key, key[-6:]), **numbers} for key, numbers in people.items()]
        return {**found, "annotators": shown}

    async def export(self, project: Project, wanted: Format) -> bytes:
        """The project's preference rows: this product's own lines, TRL's, TRLx's, or CSV. Pairs that a format
        has no place for are left out, as `rlhf data export` does. Raises UpstreamFailed."""
        tasks, judgements, _ = await self._all(project.id)
        return await self._aside(lambda: _written(self._rows(project, tasks, judgements), wanted))

    async def thumbs(self, project: Project, wanted: Format) -> bytes:
        """Answers that users liked or disliked, as rows for KTO. Raises BadRequest, UpstreamFailed."""
        if wanted != "jsonl":
            raise BadRequest(f"Thumbs have no place in {wanted}: export them as jsonl.", param="format")

        def lines() -> bytes:
            return b"".join(row.line().encode() + b"\n" for row in self._places.record(project.name).thumbs())

        return await self._aside(lines)

    async def standing(self, project: Project) -> Standing:
        """How far judging has come. Raises UpstreamFailed."""
        tasks, judgements, _ = await self._all(project.id)

        def counted() -> Standing:
            record = self._places.record(project.name)
            here, there = {task.task_id for task in tasks}, {task.task_id for task in record.tasks()}
            said = {one.task_id for one in (*judgements, *record.judgements())}
            rows = self._rows(project, tasks, judgements)
            return Standing(tasks=len(here | there), judged=len(said & (here | there)), preferences=len(rows))

        return await self._aside(counted)

    async def pull(self, project: Project) -> None:
        """Bring the record up to date with Label Studio. Raises UpstreamFailed."""

        def pulled() -> None:
            with closing(self._places.studio()) as studio:
                pull(studio, self._places.record(project.name), project.name)

        await self._aside(pulled)

    async def drop(self, project: Project) -> None:
        """What is known of a project that is deleted: another one of its name must not find it."""
        await self._aside(lambda: self._places.record(project.name).drop())

    def _rows(
        self, project: Project, tasks: Sequence[Task], judgements: Sequence[Judgement]
    ) -> list[PreferenceRow]:
        """Judged here, judged in Label Studio, and said by users in their chats."""
        named = {task.task_id: task for task in tasks}
        here = [row for judgement in judgements for row in preferences(named[judgement.task_id], judgement)]
        return [*here, *self._places.record(project.name).rows()]

    async def _aside(self, work: Callable[[], T]) -> T:
        try:
            return await asyncio.to_thread(work)
        except AnnotationError as error:
            text = str(error)
            raise UpstreamFailed(f"{text[:1].upper()}{text[1:]}. {error.remedy}".strip()) from error

    @unbroken
    async def _all(self, project_id: str) -> tuple[list[Task], list[Judgement], dict[str, str]]:
        async with self._database.read() as session:
            rows = await store.tasks(session, project_id)
            said = await store.judgements(session, project_id)
            keys = {row.annotator for row in said}
            query = select(ApiKey.id, ApiKey.name).where(ApiKey.id.in_(keys))
            names = {row.id: row.name for row in await session.execute(query)}
        task_names = {row.id: row.name for row in rows}
        judged = [_judgement(row, task_names[row.task_id]) for row in said]
        return [Task.model_validate(row.task) for row in rows], judged, names


async def _twice(work: Callable[[], Awaitable[T]]) -> T:
    """Two requests may write the same row at once; the second finds it when it tries again."""
    try:
        return await work()
    except IntegrityError:
        return await work()


async def _scores(session: AsyncSession, task: AnnotationTask, row: AnnotationJudgement) -> list[Score]:
    """Of the answers of this project's own chats alone: a file of pairs may name any trace."""
    if row.choice is None:
        return []
    scores = scores_of(Task.model_validate(task.task), _judgement(row, task.name))
    known = await owners(session, [score["traceId"] for score in scores])
    ours = {trace for trace, owner in known.items() if owner.project_id == task.project_id}
    return [score for score in scores if score["traceId"] in ours]


def _read(content: bytes, name: str) -> list[Task]:
    """By way of a file, which is what the room that knows pairs reads."""
    with tempfile.TemporaryDirectory(prefix="loopyard-pairs-") as folder:
        path = Path(folder) / "pairs.jsonl"
        path.write_bytes(content)
        try:
            return read_tasks(path)
        except AnnotationError as error:
            told = str(error).replace(str(path), name)
            raise BadRequest(f"{told}\n{error.remedy}".strip(), param="file") from error


def _written(rows: Sequence[PreferenceRow], wanted: Format) -> bytes:
    if wanted == "jsonl":
        return b"".join(row.line().encode() + b"\n" for row in rows)
    return b"".join(WRITERS[wanted]([row for row in rows if FITS[wanted](row)]))


def _shown(row: AnnotationTask) -> TaskOut:
    """Without traces, the known answer, the session, the user and the task's own name."""
    sides = {side: SideOut(messages=row.task[side]["messages"]) for side in ("left", "right")}
    return TaskOut(id=row.id, prompt=row.task["prompt"], **sides)


def _judged(row: AnnotationJudgement) -> JudgementOut:
    fields = {name: getattr(row, name) for name in JudgementIn.model_fields}
    return JudgementOut(**fields, at=row.updated_at)


def _judgement(row: AnnotationJudgement, task: str) -> Judgement:
    fields = {name: getattr(row, name) for name in JudgementIn.model_fields}
    return Judgement(task_id=task, annotator=row.annotator, at=row.updated_at, **fields)


def _progress(tasks: int, said: Sequence[tuple[str | None, float | None]]) -> Progress:
    judged = sum(choice is not None for choice, _ in said)
    times = [seconds for choice, seconds in said if choice and seconds is not None]
    return Progress(
        tasks=tasks,
        judged=judged,
        skipped=len(said) - judged,
        left=tasks - len(said),
        seconds=median(times) if times else None,
    )
