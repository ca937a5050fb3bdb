"""Become a command whose life is bound to the life of its parent: `python launch.py PARENT COMMAND ...`.

Run by path in an isolated interpreter before each service (standard library only, some 20 ms). Doing this
between fork and exec of the supervisor itself would run Python in a forked process that has threads.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1  # prctl(2): the kernel sends this signal to us when our parent ends; survives exec


def main() -> None:
    """Ask the kernel for the death signal, then replace this program by the command."""
    parent, command = int(sys.argv[1]), sys.argv[2:]
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    # The parent may have ended before the call above.
    if os.getppid() != parent:
        sys.exit(f"the supervisor {parent} has gone")
    os.execvp(command[0], command)  # noqa: S606 - the command is the supervisor's own


main()
