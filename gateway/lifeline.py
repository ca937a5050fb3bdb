"""The last one out: ends every process of a supervisor that was killed: `python lifeline.py MARK`.

The kernel's death signal reaches only direct children and only on Linux. This process holds the reading
end of a pipe from the supervisor; when that ends without a farewell it ends whatever carries the
supervisor's mark in its environment: services, their children, and theirs, whatever session or group they
have moved to.
A mark is `<supervisor>/<service>`, so the same search finds what one service has left behind.
"""

import os
import signal
import sys
import time

import psutil

MARK_VARIABLE = "LOOPYARD_MARK"
FAREWELL = b"."  # the supervisor stops in order and has ended its services itself
GRACE = 2.0  # seconds between the request to end and the order; everything has to be gone after 5


def marked(mark: str) -> list[psutil.Process]:
    """Every other process whose mark starts so and that may be looked at by this user."""
    me = os.getpid()
    return [process for process in psutil.process_iter() if process.pid != me and _carries(process, mark)]


def _carries(process: psutil.Process, mark: str) -> bool:
    try:
        return process.environ().get(MARK_VARIABLE, "").startswith(mark)
    except (psutil.Error, OSError):  # it ended meanwhile, or is another user's
        return False


def end_marked(mark: str, grace: float = GRACE) -> int:
    """Ask, then force every process whose mark starts so to end; gives how many there were."""
    found = marked(mark)
    for process in found:
        _signal(process, signal.SIGTERM)
    _wait(found, grace)
    # Again from the start: a process may have had children in the meantime.
    for process in (left := marked(mark)):
        _signal(process, signal.SIGKILL)
    _wait(left, grace)
    return len(found)


def _wait(processes: list[psutil.Process], seconds: float) -> None:
    """Wait for processes that may not be our children.

    An orphan stays a zombie where process 1 does not collect it (a container without an init); psutil's
    own `wait_procs` would wait for it in vain.
    """
    deadline = time.monotonic() + seconds
    while any(_runs(process) for process in processes) and time.monotonic() < deadline:
        time.sleep(0.02)


def _runs(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def _signal(process: psutil.Process, number: int) -> None:
    try:
        process.send_signal(number)
    except psutil.Error:
        return


def main() -> None:
    """Wait for the supervisor's end of the pipe to close."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    if sys.stdin.buffer.read(1) != FAREWELL:
        end_marked(sys.argv[1])


if __name__ == "__main__":
    main()
