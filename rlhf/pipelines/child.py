"""The process of one step: `python -m rlhf.pipelines.child ORDER`, started by `process` alone.

It ends with the worker, however that ends: its standard input closes, and the whole group is killed.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import resource
import signal
import sys
import threading
import time
import traceback
from pathlib import Path
from typing import Any

from rlhf.errors import DeployError, GatewayError, RlhfError, StoreAway, StoreChanged
from rlhf.pipelines.events import report
from rlhf.pipelines.kinds import Work, load
from rlhf.pipelines.outputs import publish

RESULT = "result.json"
NEARLY = 0.9
"""Share of the memory that a step may have."""
PASSING = (DeployError, GatewayError, StoreAway, StoreChanged)
"""Errors that a second attempt may not meet."""


def main(order: dict[str, Any]) -> dict[str, Any]:
    """Do a step; what came of it."""
    began = time.time()
    partial, folder = Path(order["partial"]), Path(order["folder"])
    try:
        kind = load(order["plugins"])[order["kind"]]
        work = Work(
            kind.parameters.model_validate(order["parameters"]),
            order["inputs"],
            partial,
            Path(order["objects"]),
            Path(order["registry"]),
            order["device"],
            lambda text: print(text, flush=True),  # noqa: T201 - the worker makes log lines of it
            report,
        )
        outputs = kind.run(work)
        if set(outputs) != set(kind.outputs):
            raise TypeError(f"`{kind.name}` gave {sorted(outputs)} and promises {sorted(kind.outputs)}")
        seconds = round(time.time() - began, 1)
        publish(partial, folder, outputs, {"kind": kind.name, "seconds": seconds})
    except BaseException as error:
        text, final = explain(error, partial)
        if not isinstance(error, RlhfError):
            traceback.print_exc()
        return {"ok": False, "error": text, "final": final}
    return {"ok": True, "seconds": seconds}


def explain(error: BaseException, folder: Path) -> tuple[str, bool]:
    """An error in words, and whether trying again is of no use."""
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return f"the disk is full ({folder}): make room and resume the job", True
    odd = not isinstance(error, (RlhfError, OSError)) and _at_the_limit()
    if odd or isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return (
            "memory ran out: lower the batch or the lengths, or raise `memory_mb`, and resume the job",
            True,
        )
    if isinstance(error, RlhfError):
        return str(error), not isinstance(error, PASSING)
    return f"{type(error).__name__}: {error}", False


def _at_the_limit() -> bool:
    """Whether `memory_mb` is nearly used up: a library that does not fit says anything but that."""
    limit, status = resource.getrlimit(resource.RLIMIT_DATA)[0], Path("/proc/self/status")
    if limit == resource.RLIM_INFINITY or not status.is_file():
        return False
    kilobytes = next(int(line.split()[1]) for line in status.read_text().splitlines() if "VmData" in line)
    return kilobytes << 10 > NEARLY * limit


def end_with_the_worker() -> None:
    """Keep the worker's end of standard input to ourselves, and kill the group when it closes."""
    held = os.dup(0)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)

    def watch() -> None:
        with contextlib.suppress(OSError):
            while os.read(held, 1):
                pass
        os.killpg(0, signal.SIGKILL)

    threading.Thread(target=watch, daemon=True).start()


def _limit(megabytes: int | None) -> None:
    if megabytes is not None:
        limit = megabytes * 2**20
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))


def _run() -> int:
    end_with_the_worker()
    file = Path(sys.argv[1])
    order = json.loads(file.read_text())
    _limit(order["memory_mb"])
    done = main(order)
    part = file.with_name(f".{file.name}.partial")
    part.write_text(json.dumps(done))
    part.replace(file.with_name(RESULT))
    return 0 if done["ok"] else 1


if __name__ == "__main__":
    sys.exit(_run())
