"""Keeps one service running: started, watched, started again with back-off when it ends or falls silent."""

import asyncio
import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from gateway.cli_errors import CommandError
from gateway.data_folder import write_json
from gateway.log_files import LogFile, tail
from gateway.probes import Probe
from gateway.processes import ChildProcess


class State(StrEnum):
    """What a service is doing."""

    WAITING = "waiting"
    STARTING = "starting"
    READY = "ready"
    SILENT = "not answering"
    RESTARTING = "restarting"
    STOPPING = "stopping"
    STOPPED = "stopped"


@dataclass(frozen=True)
class Service:
    """How to run one service.

    Attributes:
        env: its whole environment.
        url: where it listens, empty for one without a port.
    """

    name: str
    command: Sequence[str]
    env: Mapping[str, str]
    probe: Probe
    url: str = ""


@dataclass(frozen=True)
class Patience:
    """Times in seconds; tests make them short.

    Attributes:
        delays: pauses before the first, second, ... restart; the last one repeats.
        settled: a run that was ready this long starts the pauses from the first again.
        first_tries: how often a service may end before it has ever been ready.
        start: how long a service may take to become ready.
        check: pause between two looks at a ready service.
        silence: how long a service may leave looks unanswered before it is ended.
        grace: how long a service may take to stop.
    """

    delays: Sequence[float] = (0.2, 1, 2, 4, 8, 15, 30)
    settled: float = 60
    first_tries: int = 3
    start: float = 300
    check: float = 5
    silence: float = 90
    grace: float = 8


@dataclass
class Keeper:
    """Keeps one service running."""

    service: Service
    run: Path
    mark: str
    patience: Patience
    log: LogFile
    changed: Callable[["Keeper"], None]
    state: State = State.WAITING
    restarts: int = 0
    last_exit: int | None = None
    started: float = 0.0
    ready_at: float | None = None
    child: ChildProcess | None = None
    first_ready: asyncio.Event = field(default_factory=asyncio.Event)
    _failures: int = 0

    async def keep(self) -> None:
        """Run the service again and again until cancelled.

        Raises:
            CommandError: it ended several times without ever having been ready.
        """
        while True:
            status = await self._run_once()
            lived = time.monotonic() - self.ready_at if self.ready_at else 0.0
            self._failures = 1 if lived > self.patience.settled else self._failures + 1
            self._require_hope(status)
            self.restarts += 1
            self.last_exit = status
            delay = self.patience.delays[min(self._failures, len(self.patience.delays)) - 1]
            self.log.note(f"{self.service.name} ended with status {status}, starting again in {delay} s")
            self._become(State.RESTARTING)
            await asyncio.sleep(delay)

    async def stop(self, grace: float | None = None) -> None:
        """Stop the service; `keep` has to be cancelled before. `grace`: another time than its patience."""
        if self.child:
            self._become(State.STOPPING)
            await self.child.stop(self.patience.grace if grace is None else grace)
        self._become(State.STOPPED)

    async def _run_once(self) -> int:
        self.started, self.ready_at = time.monotonic(), None
        self.log.note(f"{self.service.name} starts: {' '.join(self.service.command)}")
        self.child = await ChildProcess.start(
            self.service.command, self.service.env, f"{self.mark}/{self.service.name}", self.log
        )
        self._become(State.STARTING)
        end = asyncio.create_task(self.child.wait())
        watch = asyncio.create_task(self._watch(self.child))
        try:
            await asyncio.wait([end, watch], return_when=asyncio.FIRST_COMPLETED)
            if not end.done():
                self.log.note(f"{self.service.name} is ended: {watch.result()}")
                self.child.kill()
            return await end
        finally:
            watch.cancel()
            end.cancel()

    async def _watch(self, child: ChildProcess) -> str:
        """Follow a run until it has to be ended; gives the reason."""
        while not await self.service.probe.ready(child.pid):
            if time.monotonic() - self.started > self.patience.start:
                return f"not ready after {self.patience.start:.0f} s"
            await asyncio.sleep(0.1)
        self.ready_at = heard = time.monotonic()
        self._become(State.READY)
        self.first_ready.set()
        while time.monotonic() - heard < self.patience.silence:
            await asyncio.sleep(self.patience.check)
            if await self.service.probe.alive(child.pid):
                heard = time.monotonic()
            self._become(State.READY if time.monotonic() - heard < self.patience.check else State.SILENT)
        return f"no answer for {self.patience.silence:.0f} s"

    def _require_hope(self, status: int) -> None:
        if self.first_ready.is_set() or self._failures < self.patience.first_tries:
            return
        raise CommandError(
            f"{self.service.name} ended {self._failures} times while it was starting, last with status "
            f"{status}. The end of {self.log.path}:\n{tail(self.log.path)}",
            "`loopyard doctor` may know why",
        )

    def _become(self, state: State) -> None:
        if state is self.state:
            return
        self.state = state
        if self.service.url:
            # A full disk is a reason to tell less, not to stop services that run.
            with contextlib.suppress(OSError):
                write_json(self.run / f"{self.service.name}.json", self.facts())
        self.changed(self)

    def facts(self) -> dict[str, object]:
        """What DATA/run/<service>.json says."""
        return {
            "service": self.service.name,
            "url": self.service.url,
            "pid": self.child.pid if self.child else None,
            "state": self.state.value,
            "restarts": self.restarts,
            "last_exit": self.last_exit,
        }
