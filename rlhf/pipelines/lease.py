"""Who has which GPU: one lease each, held by the process group that computes, so that it ends with it.

A machine without nvidia-smi has none; steps that want one run on the CPU there.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rlhf.pipelines.process import Cancelled

PAUSE = 0.5
"""Seconds between two looks for a free GPU."""
WATCH = 2.0
"""Seconds between two looks at its memory."""
QUERY = "index,uuid,name,memory.total,memory.used"


@dataclass(frozen=True)
class Gpu:
    """One GPU as nvidia-smi sees it; memory in MiB."""

    index: int
    uuid: str
    name: str
    total_mb: int
    used_mb: int


@dataclass
class Lease:
    """What a step may use. `held`: descriptor that its process group inherits.

    Attributes:
        peak_mb: most memory that was in use on the GPU, by anybody.
    """

    gpu: Gpu
    held: int
    peak_mb: int = 0

    @property
    def env(self) -> dict[str, str]:
        """Environment in which the step sees this GPU alone."""
        return {"CUDA_VISIBLE_DEVICES": self.gpu.uuid}


def gpus(nvidia_smi: str = "nvidia-smi") -> list[Gpu]:
    """The GPUs of this machine; none where nvidia-smi is missing or finds no driver."""
    if shutil.which(nvidia_smi) is None:
        return []
    command = [nvidia_smi, f"--query-gpu={QUERY}", "--format=csv,noheader,nounits"]
    try:
        said = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return []
    found = [[cell.strip() for cell in line.split(",")] for line in said.splitlines() if line.strip()]
    return [Gpu(int(i), uuid, name, int(total), int(used)) for i, uuid, name, total, used in found]


@contextmanager
def leased(
    folder: Path,
    need_mb: int | None,
    tell: Callable[[str], None],
    cancelled: Callable[[], bool],
    nvidia_smi: str = "nvidia-smi",
) -> Iterator[Lease | None]:
    """Wait for a GPU that nobody has and that has `need_mb` of memory free; None on a machine without one.

    Args:
        folder: where the leases are; all workers of a machine name the same.

    Raises:
        Cancelled: the job was cancelled while it waited.
    """
    if not (there := gpus(nvidia_smi)):
        tell("no GPU here: this step runs on the CPU")
        yield None
        return
    lease = _wait(folder, there, need_mb, tell, cancelled, nvidia_smi)
    tell(f"has GPU {lease.gpu.index} ({lease.gpu.name}, {lease.gpu.total_mb} MiB)")
    ended = threading.Event()
    watcher = threading.Thread(target=_watch, args=(lease, ended, nvidia_smi), daemon=True)
    watcher.start()
    try:
        yield lease
    finally:
        ended.set()
        watcher.join()
        os.close(lease.held)
        tell(f"leaves GPU {lease.gpu.index}; at most {lease.peak_mb} MiB were in use")


def _wait(
    folder: Path,
    there: list[Gpu],
    need_mb: int | None,
    tell: Callable[[str], None],
    cancelled: Callable[[], bool],
    nvidia_smi: str,
) -> Lease:
    folder.mkdir(parents=True, exist_ok=True)
    told = False
    while True:
        for gpu in there:
            if gpu.total_mb - gpu.used_mb >= (need_mb or 0) and (held := _take(folder, gpu)) is not None:
                return Lease(gpu, held, gpu.used_mb)
        if not told:
            tell("waits for a GPU" + (f" with {need_mb} MiB free" if need_mb else ""))
            told = True
        if cancelled():
            raise Cancelled
        time.sleep(PAUSE)
        there = gpus(nvidia_smi) or there


def _take(folder: Path, gpu: Gpu) -> int | None:
    held = os.open(folder / f"{gpu.uuid}.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(held)
        return None
    return held


def _watch(lease: Lease, ended: threading.Event, nvidia_smi: str) -> None:
    while not ended.wait(WATCH):
        with contextlib.suppress(StopIteration):
            now = next(gpu for gpu in gpus(nvidia_smi) if gpu.uuid == lease.gpu.uuid)
            lease.peak_mb = max(lease.peak_mb, now.used_mb)
