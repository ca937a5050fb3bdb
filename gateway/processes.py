"""One running command: started so that it cannot outlive us, its output read, stopped with a grace."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from gateway.lifeline import FAREWELL, MARK_VARIABLE, end_marked
from gateway.log_files import LogFile

LAUNCH = Path(__file__).with_name("launch.py")
LIFELINE = Path(__file__).with_name("lifeline.py")


class ChildProcess:
    """A command in a session of its own, so that Ctrl-C on the terminal reaches only the supervisor."""

    def __init__(self, process: asyncio.subprocess.Process, mark: str, output: "Output") -> None:
        self._process = process
        self._mark = mark
        self._output = output

    @classmethod
    async def start(
        cls, command: Sequence[str], env: Mapping[str, str], mark: str, log: LogFile
    ) -> "ChildProcess":
        """Start a command; `mark` goes into its environment and that of all its descendants.

        Must be called from the main thread: the kernel sends the death signal when the thread that
        started a child ends, not when its process does.
        """
        output = Output(log)
        try:
            process = await asyncio.create_subprocess_exec(
                *[sys.executable, "-I", "-S", str(LAUNCH), str(os.getpid()), *command],
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output.writing_end,
                stderr=asyncio.subprocess.STDOUT,
                env={**env, MARK_VARIABLE: mark, "PYTHONUNBUFFERED": "1"},
                start_new_session=True,
            )
        finally:
            output.started()
        return cls(process, mark, output)

    @property
    def pid(self) -> int:
        """Process id; that of the command itself, which replaces the launcher."""
        return self._process.pid

    async def wait(self) -> int:
        """Wait for the end and clear away what it left behind; gives the exit status, -n for signal n."""
        status = await self._process.wait()
        await asyncio.to_thread(end_marked, self._mark, 0.5)
        self._output.close()
        return status

    async def stop(self, grace: float) -> int:
        """Ask it to end, and make it end after `grace` seconds."""
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(grace):
                await self._process.wait()
        except TimeoutError:
            self.kill()
        return await self.wait()

    def kill(self) -> None:
        """End it now."""
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()


class Output:
    """A pipe that carries what a command prints into its log.

    Not asyncio's own pipe: up to Python 3.12 its `wait` lasts until all descendants have closed theirs.
    """

    def __init__(self, log: LogFile) -> None:
        self._log = log
        self._reading_end, self.writing_end = os.pipe()
        os.set_blocking(self._reading_end, False)
        asyncio.get_running_loop().add_reader(self._reading_end, self._read)
        self._open = True

    def started(self) -> None:
        """The command has its copy of the writing end."""
        os.close(self.writing_end)

    def close(self) -> None:
        """Take what is left and close; may be repeated."""
        while self._open and self._read():
            pass
        self._end()

    def _read(self) -> bool:
        try:
            chunk = os.read(self._reading_end, 65536)
        except BlockingIOError:
            return False
        if chunk:
            self._log.write(chunk)
        else:
            self._end()
        return bool(chunk)

    def _end(self) -> None:
        if self._open:
            self._open = False
            asyncio.get_running_loop().remove_reader(self._reading_end)
            os.close(self._reading_end)


class Lifeline:
    """The process that clears up after us if we are killed; see gateway/lifeline.py."""

    def __init__(self, mark: str) -> None:
        self._mark = mark
        self._process: asyncio.subprocess.Process | None = None

    async def hold(self) -> None:
        """Keep one alive until cancelled."""
        while True:
            self._process = await asyncio.create_subprocess_exec(
                *[sys.executable, "-P", str(LIFELINE), self._mark],
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.DEVNULL,
                start_new_session=True,
            )
            await self._process.wait()

    async def release(self) -> None:
        """Tell it that everything ended in order."""
        if self._process and self._process.stdin and self._process.returncode is None:
            with contextlib.suppress(ConnectionError):
                self._process.stdin.write(FAREWELL)
                await self._process.stdin.drain()
            self._process.stdin.close()
            await self._process.wait()
