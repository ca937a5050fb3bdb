"""`loopyard up`: everything in order, on one terminal."""

import asyncio
import contextlib
import json
import os
import signal
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.text import Text

from gateway.cli_errors import CommandError
from gateway.crew import plan_of
from gateway.data_folder import DataFolder, open_data_folder, read_format, write_json
from gateway.demo_project import load_demo_in_background
from gateway.keeper import Service
from gateway.lifeline import end_marked
from gateway.lock import only_one
from gateway.log_files import LogFile, tail
from gateway.processes import ChildProcess
from gateway.services import (
    Ports,
    build_helper,
    build_services,
    prepare_command,
    read_environment,
    require_free_ports,
)
from gateway.startup_display import StartupDisplay, addresses
from gateway.supervisor import Crewing, Supervisor


@dataclass(frozen=True)
class UpOptions:
    """What the command line said."""

    data: Path
    ports: Ports
    demo: bool = True
    model: str | None = None
    verbose: bool = False
    workers: str = ""
    """`MIN:MAX` workers by the depth of the queues; empty: one."""


def up(options: UpOptions, console: Console) -> None:
    """Run until Ctrl-C or SIGTERM.

    Raises:
        CommandError: the folder is in use or unusable, a port is taken, or a service does not start.
    """
    environment = read_environment(Path.cwd())
    with hold_folder(options.data) as data:
        require_free_ports(options.ports, environment)
        with StartupDisplay(console, live=console.is_terminal and not options.verbose) as display:
            asyncio.run(_Session(options, data, environment, display).run())
        display.say("Loopyard has stopped.")


@contextlib.contextmanager
def hold_folder(path: Path) -> Iterator[DataFolder]:
    """Lock and open a data folder, and end what a killed supervisor may have left running."""
    read_format(path)
    run = path.absolute() / "run"
    try:
        run.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CommandError(
            f"The data folder {path} cannot be made: {error.strerror}", "choose another one with --data"
        ) from error
    with only_one(run / "up.lock", f"The data folder {path}"):
        data = open_data_folder(path)
        _end_leftovers(run)
        try:
            yield data
        finally:
            (run / "up.json").unlink(missing_ok=True)


def _end_leftovers(run: Path) -> None:
    with contextlib.suppress(OSError, ValueError, KeyError):
        end_marked(json.loads((run / "up.json").read_text())["mark"])
    # Nobody shall take the addresses of the last run for those of this one.
    for stale in run.glob("*.json"):
        stale.unlink()


def _crewing(workers: str, worker: Service, run: Path) -> Crewing:
    """Raises CommandError where it makes no sense, or where workers cannot share their record."""
    plan = plan_of(workers)
    if not (url := worker.env.get("RLHF_JOBS_URL", "")):
        raise CommandError(
            f"--workers {workers} needs a record of jobs that several workers can share",
            "set RLHF_JOBS_URL to a PostgreSQL database (postgresql://…), or leave --workers out",
        )
    return Crewing(plan, url, lambda number: build_helper(worker, run, number))


class _Session:
    """One run of `loopyard up`."""

    def __init__(
        self,
        options: UpOptions,
        data: DataFolder,
        environment: Mapping[str, str],
        display: StartupDisplay,
    ) -> None:
        self._options, self._data, self._display = options, data, display
        self._begun = time.monotonic()
        services = build_services(data, options.ports, environment, model=options.model)
        self._listener = display.line if options.verbose else None
        self._supervisor = Supervisor(
            services,
            data.run,
            changed=display.changed,
            listener=self._listener,
            crew=_crewing(options.workers, services[-1], data.run) if options.workers else None,
        )
        self._preparing: ChildProcess | None = None
        self._signals = 0

    async def run(self) -> None:
        """Prepare the models, start, announce, wait, stop."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            asyncio.get_running_loop().add_signal_handler(number, self._signal, number)
        self._record()
        await self._prepare()
        self._display.watch(self._supervisor.keepers)
        announcing = asyncio.create_task(self._announce())
        try:
            await self._supervisor.run()
        finally:
            announcing.cancel()

    def _signal(self, number: int) -> None:
        """The first Ctrl-C stops in order, the second one at once."""
        if number == signal.SIGHUP:
            self._display.be_quiet()
        self._signals += 1
        self._supervisor.stop()
        if self._preparing:
            self._preparing.kill()
        if self._signals > 1:
            self._supervisor.kill()
        else:
            self._display.end_live()
            self._display.say("Stopping (once more to stop at once) ...")

    def _record(self) -> None:
        facts = {"pid": os.getpid(), "mark": self._supervisor.mark, "started_at": time.time()}
        write_json(self._data.run / "up.json", facts)

    async def _prepare(self) -> None:
        """Make the model's files where they are missing.

        Raises:
            CommandError: it failed; with the end of its log.
        """
        env = self._supervisor.keepers[0].service.env
        if env.get("LLM_BACKEND") == "echo":
            return
        self._display.doing("Preparing the models")
        log = LogFile(self._data.logs, "prepare", self._prepare_line)
        mark = f"{self._supervisor.mark}/prepare"
        self._preparing = await ChildProcess.start(prepare_command(), env, mark, log)
        status = await self._preparing.wait()
        self._preparing = None
        log.close()
        if status and not self._signals:
            raise CommandError(
                f"The models could not be prepared. The end of {log.path}:\n{tail(log.path)}",
                "`loopyard doctor` may know why",
            )

    def _prepare_line(self, name: str, line: str) -> None:
        self._display.doing(f"Preparing the models: {line.strip()[:90]}")

    async def _announce(self) -> None:
        await self._supervisor.ready.wait()
        self._display.end_live()
        self._display.say(addresses(self._data, self._options.ports, time.monotonic() - self._begun))
        self._display.say("Ctrl-C stops everything.")
        if self._options.demo:
            url = f"http://127.0.0.1:{self._options.ports.gateway}"
            load_demo_in_background(self._data, url, self._say_of_demo)

    def _say_of_demo(self, text: str) -> None:
        # Whatever the demo meets while everything stops is no news.
        if not self._signals:
            self._display.say(Text(text, style="dim"))
