"""Workers beside the first one, as many as the queues are deep: started one by one, ended when they are idle.

Only with the jobs' record in PostgreSQL, which several workers share. A helper takes steps and no pipelines,
which may wait for people for days: told to stop, it takes nothing new, ends the step that it does, and goes.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg

from gateway.cli_errors import CommandError
from gateway.data_folder import write_json
from gateway.keeper import Keeper

_log = logging.getLogger(__name__)

QUEUES = ("cpu", "gpu")
_DEPTH = """
SELECT queue_name, count(*) FROM dbos.workflow_status
WHERE status = 'ENQUEUED' AND queue_name = ANY(%s) GROUP BY queue_name
"""
_BUSY = (
    "SELECT DISTINCT executor_id FROM dbos.workflow_status WHERE status = 'PENDING' AND queue_name = ANY(%s)"
)
CREW = "crew.json"


@dataclass(frozen=True)
class Plan:
    """When a helper comes and goes; times in seconds.

    Attributes:
        least, most: workers, the first one among them.
        deep: steps that wait in one queue, above which it is deep.
        patience: how long a queue has to be deep before a helper starts.
        idle: how long nothing waits before a helper ends.
        look: pause between two looks.
        ending: most that a helper may take for the step that it does.
        hold: pause before the next helper, after one that could not start; it doubles, up to an hour.
    """

    least: int
    most: int
    deep: int = 2
    patience: float = 10
    idle: float = 60
    look: float = 2
    ending: float = 6 * 3600
    hold: float = 60


def plan_of(text: str) -> Plan:
    """`MIN:MAX`. CommandError where it makes no sense."""
    least, _, most = text.partition(":")
    if not (least.isdigit() and most.isdigit() and 1 <= int(least) <= int(most) <= 64):
        raise CommandError(
            f"--workers {text} is no MIN:MAX", "two numbers from 1 to 64, the first worker counted, as in 1:4"
        )
    return Plan(int(least), int(most))


@dataclass
class Helper:
    """One worker beside the first."""

    keeper: Keeper
    heartbeat: Path
    task: asyncio.Task[None]

    @property
    def executor(self) -> str:
        """Its name in the record; empty until it is ready."""
        with contextlib.suppress(OSError, ValueError, KeyError):
            return str(json.loads(self.heartbeat.read_text())["name"])
        return ""


@dataclass
class Crew:
    """Args:
    url: of the record.
    make: a keeper and the heartbeat of the helper of a number, from 2 on.
    run: DATA/run; receives `crew.json`.
    """

    plan: Plan
    url: str
    make: Callable[[int], tuple[Keeper, Path]]
    run: Path
    helpers: dict[int, Helper] = field(default_factory=dict)
    ending: dict[int, asyncio.Task[None]] = field(default_factory=dict)
    depths: Mapping[str, int] = field(default_factory=dict)
    _deep_since: float | None = None
    _idle_since: float | None = None
    _held_until: float = 0.0
    _failures: int = 0

    async def keep(self) -> None:
        """Look again and again until cancelled. Nothing that fails here ends what runs."""
        while True:
            try:
                self.depths, busy = await asyncio.to_thread(self._seen)
                self._clear()
                self._adjust(busy, time.monotonic())
            except psycopg.Error:
                # Without the record nobody works either; what runs stays.
                self._deep_since = self._idle_since = None
            self._tell()
            await asyncio.sleep(self.plan.look)

    async def stop(self) -> None:
        """End all helpers; `keep` has to be cancelled before."""
        for task in [*self.ending.values(), *(helper.task for helper in self.helpers.values())]:
            task.cancel()
        await asyncio.gather(
            *self.ending.values(), *(h.task for h in self.helpers.values()), return_exceptions=True
        )
        await asyncio.gather(*(helper.keeper.stop() for helper in self.helpers.values()))
        for helper in self.helpers.values():
            helper.keeper.log.close()
        (self.run / CREW).unlink(missing_ok=True)

    def kill(self) -> None:
        """Stop waiting for them."""
        for helper in self.helpers.values():
            if helper.keeper.child:
                helper.keeper.child.kill()

    def _seen(self) -> tuple[dict[str, int], set[str]]:
        """Steps that wait, by queue; who works on one."""
        address = self.url.replace("postgresql+psycopg://", "postgresql://")
        with psycopg.connect(address, autocommit=True, connect_timeout=5) as connection:
            depths: dict[str, int] = dict(connection.execute(_DEPTH, [list(QUEUES)]).fetchall())
            busy = {str(row[0]) for row in connection.execute(_BUSY, [list(QUEUES)])}
        return depths, busy

    def _clear(self) -> None:
        """Let go of helpers that have ended, and hold on where one could not start."""
        for number, helper in list(self.helpers.items()):
            if number in self.ending:
                if self.ending[number].done():
                    del self.ending[number], self.helpers[number]
            elif helper.task.done():
                helper.task.exception()  # a CommandError; its log says why
                helper.keeper.log.close()
                del self.helpers[number]
                self._hold()
            elif helper.keeper.first_ready.is_set():
                self._failures = 0

    def _hold(self) -> None:
        self._failures += 1
        self._held_until = time.monotonic() + min(3600, self.plan.hold * 2 ** (self._failures - 1))

    def _adjust(self, busy: set[str], now: float) -> None:
        count = 1 + len(self.helpers) - len(self.ending)
        is_deep = any(depth > self.plan.deep for depth in self.depths.values())
        self._deep_since = (self._deep_since or now) if is_deep else None
        self._idle_since = None if any(self.depths.values()) else (self._idle_since or now)
        waited = self._deep_since is not None and now - self._deep_since >= self.plan.patience
        if now >= self._held_until and (count < self.plan.least or (waited and count < self.plan.most)):
            self._begin()
            self._deep_since = None
        elif self._idle_since and now - self._idle_since >= self.plan.idle and count > self.plan.least:
            self._end_one(busy)

    def _begin(self) -> None:
        number = next(one for one in range(2, 2 + len(self.helpers) + 1) if one not in self.helpers)
        try:
            keeper, heartbeat = self.make(number)
        except OSError:  # a full disk, too many open files
            _log.exception("no further worker can be started")
            self._hold()
            return
        self.helpers[number] = Helper(keeper, heartbeat, asyncio.create_task(keeper.keep()))

    def _end_one(self, busy: set[str]) -> None:
        """The newest that does nothing. A step that it takes at this very moment it will end first."""
        for number in sorted(self.helpers.keys() - self.ending.keys(), reverse=True):
            helper = self.helpers[number]
            if helper.executor and helper.executor not in busy:
                self.ending[number] = asyncio.create_task(self._retire(helper))
                return

    async def _retire(self, helper: Helper) -> None:
        helper.task.cancel()
        await asyncio.gather(helper.task, return_exceptions=True)
        await helper.keeper.stop(self.plan.ending)
        helper.keeper.log.close()

    def _tell(self) -> None:
        with contextlib.suppress(OSError):
            write_json(self.run / CREW, self.facts())

    def facts(self) -> dict[str, Any]:
        """What DATA/run/crew.json says."""
        held = round(self._held_until - time.monotonic())
        return {
            "least": self.plan.least,
            "most": self.plan.most,
            "waiting": dict(self.depths),
            "held_seconds": max(0, held),
            "workers": [
                {**helper.keeper.facts(), "number": number, "ending": number in self.ending}
                for number, helper in sorted(self.helpers.items())
            ],
        }
