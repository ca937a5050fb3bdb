"""A step in a process group of its own: what it prints becomes log lines; nothing of it outlives a cancel."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import selectors
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from rlhf.logbook import INFO, WARNING
from rlhf.pipelines.child import RESULT
from rlhf.pipelines.events import EVENTS

LOOK = 0.25
"""Seconds between two looks at whether the job was cancelled."""
PATIENCE = 5.0
"""Seconds that a group that was left behind has to end by itself."""
ENVIRONMENT = {
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "GOMP_SPINCOUNT": "0",
    "MALLOC_MMAP_THRESHOLD_": "4000000000",
    "MALLOC_TRIM_THRESHOLD_": "8000000000",
    "PYTHONUNBUFFERED": "1",
}
"""No hub, and the allocator that trains fastest on shared cores."""


@dataclass(frozen=True)
class Hearing:
    """Where a step's words go. `cancelled` and `over` are asked a few times a second.

    Attributes:
        over: why the step must end now; empty while it may go on.
    """

    line: Callable[[str, str], None]
    advance: Callable[[Mapping[str, Any]], None]
    cancelled: Callable[[], bool]
    over: Callable[[], str] = str


class Cancelled(Exception):
    """The job was cancelled: control flow, no error."""


@contextmanager
def holding(lock: Path, cancelled: Callable[[], bool]) -> Iterator[int]:
    """Hold what only one process group may do at a time; gives the descriptor that the group inherits.

    A group whose worker was killed ends by itself; one that does not is killed. Cancelled.
    """
    lock.parent.mkdir(parents=True, exist_ok=True)
    number = os.open(lock, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        deadline = time.monotonic() + PATIENCE
        while True:
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            if time.monotonic() > deadline:
                _end_the_holder(number)
                if cancelled():
                    raise Cancelled
            time.sleep(0.05)
        os.ftruncate(number, 0)
        yield number
    finally:
        os.close(number)


def run(
    order: Mapping[str, Any], place: Path, held: Sequence[int], env: Mapping[str, str], hearing: Hearing
) -> dict[str, Any]:
    """Run a step to its end; the content of its result.

    Args:
        place: a folder for the order and the result, made here and deleted at the end.
        held: descriptors of locks, `holding`'s first, which the group keeps for as long as any of it lives.

    Raises:
        Cancelled: the job was cancelled; nothing of the group lives.
    """
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    (place / "order.json").write_text(json.dumps(order))
    heard, said = os.pipe()
    try:
        try:
            process = _start(place / "order.json", held, said, env)
        finally:
            os.close(said)
        try:
            _sign(held[0], process.pid)
            if over := _listen(process, heard, hearing):
                return {"ok": False, "error": over, "final": True}
            return _result(place, process.wait())
        finally:
            _kill(process)
    finally:
        os.close(heard)
        shutil.rmtree(place, ignore_errors=True)


def _start(order: Path, held: Sequence[int], said: int, env: Mapping[str, str]) -> subprocess.Popen[bytes]:
    # Like the worker itself, which may have been told not to look into the current folder.
    safe = ["-P"] if sys.flags.safe_path else []
    return subprocess.Popen(
        [sys.executable, *safe, "-m", "rlhf.pipelines.child", str(order)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        pass_fds=(*held, said),
        start_new_session=True,
        env={**ENVIRONMENT, **os.environ, **env, EVENTS: str(said)},
    )


def _listen(process: subprocess.Popen[bytes], heard: int, hearing: Hearing) -> str:
    """Pass on what is said until the step has ended, or must end: why. Cancelled."""
    assert process.stdout is not None
    assert process.stderr is not None
    channels: dict[int, Callable[[str], None]] = {
        process.stdout.fileno(): lambda text: hearing.line(text, INFO),
        process.stderr.fileno(): lambda text: hearing.line(text, WARNING),
        heard: lambda text: hearing.advance(json.loads(text)),
    }
    rest = dict.fromkeys(channels, b"")
    looked = 0.0
    with selectors.DefaultSelector() as selector:
        for number in channels:
            selector.register(number, selectors.EVENT_READ)
        while selector.get_map():
            if time.monotonic() - looked > LOOK:
                looked = time.monotonic()
                if hearing.cancelled():
                    raise Cancelled
                if over := hearing.over():
                    return over
                if process.poll() is not None:
                    _rest_of(selector, channels, rest)
                    return ""
            for key, _ in selector.select(LOOK):
                _pass_on(selector, key.fd, channels[key.fd], rest)
    return ""


def _pass_on(
    selector: selectors.BaseSelector, number: int, say: Callable[[str], None], rest: dict[int, bytes]
) -> bool:
    """Whole lines to the log; False where nobody writes any more."""
    data = os.read(number, 2**16)
    *lines, rest[number] = (rest[number] + data).split(b"\n")
    if not data:
        selector.unregister(number)
        lines, rest[number] = [rest[number]], b""
    for line in lines:
        # Of a bar that is drawn over itself, the last state.
        if text := line.rstrip(b"\r").rpartition(b"\r")[2].decode(errors="replace").rstrip():
            say(text)
    return bool(data)


def _rest_of(
    selector: selectors.BaseSelector, channels: Mapping[int, Callable[[str], None]], rest: dict[int, bytes]
) -> None:
    """What is still in the pipes; a grandchild that lives on is not waited for."""
    while ready := selector.select(0):
        for key, _ in ready:
            _pass_on(selector, key.fd, channels[key.fd], rest)


def _result(place: Path, code: int) -> dict[str, Any]:
    file = place / RESULT
    if file.is_file():
        return dict(json.loads(file.read_text()))
    if code == -signal.SIGKILL:
        text = "the step's process was killed (signal 9), most often because the machine ran out of memory"
    elif code < 0:
        text = f"the step's process was ended by {signal.Signals(-code).name}"
    else:
        text = f"the step's process ended with code {code} and said nothing"
    return {"ok": False, "error": text, "final": False}


def _kill(process: subprocess.Popen[bytes]) -> None:
    """End the whole group, also where its leader has ended before the others."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    for pipe in (process.stdin, process.stdout, process.stderr):
        _close(pipe)


def _close(pipe: IO[bytes] | None) -> None:
    if pipe is not None:
        with contextlib.suppress(OSError):
            pipe.close()


def _sign(held: int, group: int) -> None:
    """Say who holds a lock: host, group, and the worker that waits for it."""
    os.pwrite(held, f"{os.uname().nodename} {group} {os.getpid()}".encode(), 0)


def _end_the_holder(held: int) -> None:
    """Kill the group that holds a lock, unless its worker lives: then another job makes the same thing.

    As the lock is held, the number is that group's and nobody else's.
    """
    if not Path("/proc/self").exists():
        return  # Nobody here can say whose child it is.
    host, group, worker = [*os.pread(held, 200, 0).decode().split(" "), "", "", ""][:3]
    if host == os.uname().nodename and group.isdigit() and _parent(int(group)) != worker:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(int(group), signal.SIGKILL)


def _parent(process: int) -> str:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1]
    except OSError:
        return ""
