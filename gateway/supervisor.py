"""Starts services in order, keeps them running, stops them in reverse order.

Each service becomes ready before the next one starts. What happens to the services if the supervisor itself
is killed is in gateway/launch.py and gateway/lifeline.py.
"""

import asyncio
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from gateway.crew import Crew, Plan
from gateway.keeper import Keeper, Patience, Service
from gateway.log_files import Listener, LogFile
from gateway.processes import Lifeline


@dataclass(frozen=True)
class Crewing:
    """Workers that come and go.

    Attributes:
        url: of the jobs' record.
        helper: the service and the heartbeat of the helper of a number.
    """

    plan: Plan
    url: str
    helper: Callable[[int], tuple[Service, Path]]


class Supervisor:
    """The services of one data folder.

    Args:
        run: DATA/run; receives one JSON file a service, and the logs below `logs/`.
        changed: told whenever a service changes its state.
        listener: told every line that a service prints.
        crew: which workers come and go beside those.
    """

    def __init__(
        self,
        services: Sequence[Service],
        run: Path,
        *,
        patience: Patience | None = None,
        changed: Callable[[Keeper], None] = lambda keeper: None,
        listener: Listener | None = None,
        crew: Crewing | None = None,
    ) -> None:
        self.mark = f"loopyard-{secrets.token_hex(8)}"
        self.keepers = [
            Keeper(
                service,
                run,
                self.mark,
                patience or Patience(),
                LogFile(run / "logs", service.name, listener),
                changed,
            )
            for service in services
        ]
        self.crew = self._crew(crew, run, patience or Patience(), listener) if crew else None
        self.ready = asyncio.Event()
        self._stop = asyncio.Event()
        self._run = run

    async def run(self) -> None:
        """Run until `stop` is called, then stop everything in reverse order.

        Raises:
            CommandError: a service does not start.
        """
        lifeline = Lifeline(self.mark)
        guard = asyncio.create_task(lifeline.hold())
        tasks: list[asyncio.Task[None]] = []
        try:
            for keeper in self.keepers:
                tasks.append(asyncio.create_task(keeper.keep()))
                if not await self._until(keeper.first_ready, tasks):
                    return
            self.ready.set()
            if self.crew:
                tasks.append(asyncio.create_task(self.crew.keep()))
            await self._until(self._stop, tasks)
        finally:
            await self._end(tasks)
            guard.cancel()
            await lifeline.release()

    def stop(self) -> None:
        """Begin to stop, at once also while services are still starting."""
        self._stop.set()

    def kill(self) -> None:
        """Stop waiting for services that take their time to stop."""
        if self.crew:
            self.crew.kill()
        for keeper in self.keepers:
            if keeper.child:
                keeper.child.kill()

    def _crew(self, wanted: Crewing, run: Path, patience: Patience, listener: Listener | None) -> Crew:
        def make(number: int) -> tuple[Keeper, Path]:
            service, heartbeat = wanted.helper(number)
            heartbeat.parent.mkdir(parents=True, exist_ok=True)
            log = LogFile(run / "logs", service.name, listener)
            return Keeper(service, run, self.mark, patience, log, lambda _: None), heartbeat

        return Crew(wanted.plan, wanted.url, make, run)

    async def _until(self, event: asyncio.Event, tasks: Sequence[asyncio.Task[None]]) -> bool:
        """Wait for an event; False if we have to stop first.

        Raises:
            CommandError: a service gave up.
        """
        waiters = [asyncio.create_task(event.wait()), asyncio.create_task(self._stop.wait())]
        try:
            done, _ = await asyncio.wait([*waiters, *tasks], return_when=asyncio.FIRST_COMPLETED)
        finally:
            for waiter in waiters:
                waiter.cancel()
        for task in done.intersection(tasks):
            task.result()
        return not self._stop.is_set()

    async def _end(self, tasks: Sequence[asyncio.Task[None]]) -> None:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self.crew:
            await self.crew.stop()
        for keeper in reversed(self.keepers):
            await keeper.stop()
            keeper.log.close()
            (self._run / f"{keeper.service.name}.json").unlink(missing_ok=True)
