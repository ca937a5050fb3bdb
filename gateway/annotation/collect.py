"""Tasks out of a project's own traces: what users thought of answers, and second answers beside them.

A run lives in this process; what it found is kept as it goes (DATA/annotation/PROJECT, and the tasks here),
so that after a crash the next run does what is left.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import islice
from typing import TypeVar

from annotation.errors import AnnotationError
from annotation.pairs import CORRECTED, PREFERENCE, THUMBS, Mined, fill, mine
from annotation.places import Places, since
from annotation.push import push
from annotation.record import Record
from annotation.showing import to_show
from annotation.tasks import Task
from annotation.traces import Generation, Score, Traces
from gateway.annotation.schemas import Collected, CollectIn
from gateway.annotation.service import Annotations
from gateway.db.database import Database, unbroken
from gateway.errors import BadRequest, Conflict, GatewayError, NotFound
from gateway.projects.store import Project
from gateway.trace_view.store import of_project

T = TypeVar("T")
NAMES = (THUMBS, CORRECTED, PREFERENCE)
"""Of scores, as feedback has them."""
MOST = 20_000
"""Generations, and scores of a name, that one run looks at: the newest."""
_log = logging.getLogger(__name__)


class Stopped(Exception):
    """Somebody wants a run to end."""


@dataclass
class Run:
    """One that goes on, or the last one of a project."""

    seen: Collected
    stop: threading.Event = field(default_factory=threading.Event)
    task: asyncio.Task[None] | None = None

    def told(self, done: int, total: int) -> None:
        """Called by whatever works. Raises Stopped."""
        self.seen.done, self.seen.total = done, total
        if self.stop.is_set():
            raise Stopped


class Collections:
    """Runs of all projects, one a project at a time."""

    def __init__(self, database: Database, annotations: Annotations, places: Places) -> None:
        self._database = database
        self._annotations = annotations
        self._places = places
        self._runs: dict[str, Run] = {}

    def start(self, project: Project, wanted: CollectIn) -> Collected:
        """Raises BadRequest for a time that is none, Conflict where one runs."""
        times = (_moment(wanted.since, "since"), _moment(wanted.until, "until") if wanted.until else None)
        run = self._runs.get(project.id)
        if run and run.seen.state == "running":
            raise Conflict("Pairs of this project are being collected already; wait, or stop that run.")
        run = self._runs[project.id] = Run(Collected(began_at=datetime.now(UTC)))
        run.task = asyncio.create_task(self._watched(project, wanted, times, run))
        return run.seen

    def state(self, project_id: str) -> Collected:
        """Of the last run. Raises NotFound where there was none since the gateway started."""
        if (run := self._runs.get(project_id)) is None:
            raise NotFound("Nothing was collected for this project since the gateway started.")
        return run.seen

    def stop(self, project_id: str) -> Collected:
        """Let the run end after the answer that it waits for; what it has is kept. Raises NotFound."""
        seen = self.state(project_id)
        self._runs[project_id].stop.set()
        return seen

    def running(self) -> bool:
        """Whether any project's traces are being read."""
        return any(run.seen.state == "running" for run in self._runs.values())

    async def close(self) -> None:
        """End all of them, without waiting for a model that thinks."""
        tasks = [run.task for run in self._runs.values() if run.task and not run.task.done()]
        for run in self._runs.values():
            run.stop.set()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _watched(
        self, project: Project, wanted: CollectIn, times: tuple[datetime, datetime | None], run: Run
    ) -> None:
        seen = run.seen
        try:
            await self._collect(project, wanted, times, run)
            seen.state = "done"
        except (Stopped, asyncio.CancelledError):
            seen.state = "stopped"
        except AnnotationError as error:
            text = str(error)
            seen.state, seen.error = "failed", f"{text[:1].upper()}{text[1:]}. {error.remedy}".strip()
        except GatewayError as error:
            seen.state, seen.error = "failed", str(error)
        except Exception as error:
            _log.exception("collecting pairs failed")
            seen.state = "failed"
            seen.error = f"It broke off ({type(error).__name__}); the log of the gateway says where."
        finally:
            seen.ended_at = datetime.now(UTC)

    async def _collect(
        self, project: Project, wanted: CollectIn, times: tuple[datetime, datetime | None], run: Run
    ) -> None:
        record = self._places.record(project.name)
        with ExitStack() as stack:
            traces = stack.enter_context(closing(self._places.traces()))
            model = self._places.model("", wanted.model, wanted.temperature, traces)
            stack.enter_context(closing(model))
            mined = await self._mined(project, traces, times, run)
            run.seen.doing = "asking for second answers" if wanted.second else "keeping what was found"
            asked = model if wanted.second else None
            run.seen.same = await _aside(lambda: fill(record, mined, asked, wanted.second, run.told))
        if wanted.to == "nowhere":
            return
        run.seen.doing = "making tasks"
        tasks = await _aside(lambda: to_show(record, wanted.again, wanted.known))
        run.told(0, len(tasks))
        run.seen.added = await self._put(project, record, tasks, wanted, run)

    async def _mined(
        self, project: Project, traces: Traces, times: tuple[datetime, datetime | None], run: Run
    ) -> Mined:
        """Of the chats of this project alone, whatever a trace says of itself."""
        run.seen.doing = "reading traces"
        generations, scores = await _aside(lambda: _read(traces, *times))
        run.seen.cut = len(generations) == MOST
        own = await self._own(project.id, sorted({one.trace.trace_id for one in generations}))
        theirs = [one for one in generations if one.trace.trace_id in own]
        mined = await _aside(lambda: mine(theirs, scores))
        seen = run.seen
        seen.preferences, seen.pairs, seen.alone = len(mined.rows), len(mined.tasks), len(mined.alone)
        seen.thumbs = len(mined.thumbs)
        run.told(0, 0)
        return mined

    @unbroken
    async def _own(self, project_id: str, traces: Sequence[str]) -> set[str]:
        async with self._database.read() as session:
            return await of_project(session, project_id, traces)

    async def _put(
        self, project: Project, record: Record, tasks: Sequence[Task], wanted: CollectIn, run: Run
    ) -> int:
        """How many are new."""
        if wanted.to == "console":
            return (await self._annotations.add(project.id, tasks)).added

        def to_label_studio() -> int:
            with closing(self._places.studio()) as studio:
                studio.check()
                return push(studio, record, project.name, tasks, run.told).made

        return await _aside(to_label_studio)


def _read(traces: Traces, begin: datetime, end: datetime | None) -> tuple[list[Generation], list[Score]]:
    # Opinions may come long after the answer that they are about.
    scores = [one for name in NAMES for one in islice(traces.scores(name, begin), MOST)]
    return list(islice(traces.generations(begin, end), MOST)), scores


def _moment(text: str, name: str) -> datetime:
    try:
        return since(text)
    except AnnotationError as error:
        raise BadRequest(f"{name}: {error}. {error.remedy}", param=name) from error


async def _aside(work: Callable[[], T]) -> T:
    """The result of work in a thread of its own. Unlike one of the pool it does not keep the process from
    ending: a second answer may take minutes, and nothing is lost by leaving it."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()

    def settle(result: T | None, error: BaseException | None) -> None:
        if not done.done():
            done.set_exception(error) if error else done.set_result(result)  # type: ignore[arg-type]  # no error: a result

    def run() -> None:
        result, failed = None, None
        try:
            result = work()
        except BaseException as error:
            failed = error
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(settle, result, failed)

    threading.Thread(target=run, name="collect", daemon=True).start()
    return await done
