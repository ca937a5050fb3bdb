"""Who has which GPU: one lease each, held by the process group that computes, so that it ends with it.

A lease is for so much memory: what the step names, or what is free when it begins. A step that takes more is
ended, because the memory is somebody else's, such as the model server's. A machine without nvidia-smi has no
GPU; steps that want one run on the CPU there.
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

from rlhf.errors import StepFailed
from rlhf.pipelines.process import Cancelled

PAUSE = 0.5
"""Seconds between two looks for a free GPU."""
WATCH = 2.0
"""Seconds between two looks at its memory."""
QUERY = "index,uuid,name,memory.total,memory.used"
LEAST = 1000
"""MiB below which a GPU is full: CUDA takes several hundred before the first tensor."""


@dataclass(frozen=True)
class Gpu:
    """One GPU as nvidia-smi sees it; memory in MiB."""

    index: int
    uuid: str
    name: str
    total_mb: int
    used_mb: int

    @property
    def free_mb(self) -> int:
        """What nobody uses."""
        return self.total_mb - self.used_mb

    def __str__(self) -> str:
        return f"GPU {self.index} ({self.name}, {self.total_mb} MiB)"


@dataclass
class Lease:
    """What a step may use. `held`: descriptor that its process group inherits.

    Attributes:
        limit_mb: memory that it is for.
        peak_mb: most that was taken since it began.
        over: why the step has to end; empty while it keeps to its limit.
    """

    gpu: Gpu
    held: int
    limit_mb: int
    peak_mb: int = 0
    over: str = ""

    @property
    def env(self) -> dict[str, str]:
        """Environment in which the step sees this GPU alone, and plans with this much of it."""
        return {"CUDA_VISIBLE_DEVICES": self.gpu.uuid, "RLHF_MEMORY_MB": str(self.limit_mb)}


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
        need_mb: None takes what is free.

    Raises:
        Cancelled: the job was cancelled while it waited.
        StepFailed: no GPU is that large; or nothing is free on those that nobody has a lease on.
    """
    if not (there := gpus(nvidia_smi)):
        tell("no GPU here: this step runs on the CPU")
        yield None
        return
    lease = _wait(folder, there, need_mb, tell, cancelled, nvidia_smi)
    tell(f"has {lease.gpu}, and may use {lease.limit_mb} MiB of it")
    ended = threading.Event()
    watcher = threading.Thread(target=_watch, args=(lease, ended, nvidia_smi), daemon=True)
    watcher.start()
    try:
        yield lease
    finally:
        ended.set()
        watcher.join()
        os.close(lease.held)
        tell(f"leaves GPU {lease.gpu.index}; it used at most {lease.peak_mb} MiB")


def _wait(
    folder: Path,
    there: list[Gpu],
    need_mb: int | None,
    tell: Callable[[str], None],
    cancelled: Callable[[], bool],
    nvidia_smi: str,
) -> Lease:
    folder.mkdir(parents=True, exist_ok=True)
    if need_mb and all(gpu.total_mb < need_mb for gpu in there):
        raise StepFailed(f"`memory_mb: {need_mb}` is more than any GPU has: {', '.join(map(str, there))}")
    told = False
    while True:
        others = 0
        for gpu in sorted(there, key=lambda gpu: -gpu.free_mb):
            if (held := _take(folder, gpu)) is None:
                others += 1
            elif gpu.free_mb >= (need_mb or LEAST):
                return Lease(gpu, held, need_mb or gpu.free_mb)
            else:
                os.close(held)
        if not (need_mb or others):
            raise StepFailed(_full(there))
        if not told:
            tell("waits for a GPU" + (f" with {need_mb} MiB free" if need_mb else ""))
            told = True
        if cancelled():
            raise Cancelled
        time.sleep(PAUSE)
        there = gpus(nvidia_smi) or there


def _full(there: list[Gpu]) -> str:
    """Why no GPU is taken, where no step of ours has one."""
    free = ", ".join(f"{gpu} has {gpu.free_mb} MiB free" for gpu in there)
    return (
        f"the memory of every GPU is taken by other programs: {free}, and {LEAST} are needed at least. End "
        "them (`nvidia-smi` names them), use `resource: cpu`, or name `memory_mb` to wait for so much"
    )


def _take(folder: Path, gpu: Gpu) -> int | None:
    held = os.open(folder / f"{gpu.uuid}.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(held)
        return None
    return held


def _watch(lease: Lease, ended: threading.Event, nvidia_smi: str) -> None:
    """Note how much memory the step takes. It is what the GPU has lost since the lease began: nobody else of
    ours begins on it meanwhile, and in a container nvidia-smi cannot tell whose a process is.
    """
    while not ended.wait(WATCH):
        with contextlib.suppress(StopIteration):
            now = next(gpu for gpu in gpus(nvidia_smi) if gpu.uuid == lease.gpu.uuid)
            taken = now.used_mb - lease.gpu.used_mb
            lease.peak_mb = max(lease.peak_mb, taken)
            if taken > lease.limit_mb and not lease.over:
                lease.over = (
                    f"the step has a lease on {lease.limit_mb} MiB, and since it began {taken} MiB of "
                    f"{lease.gpu} were taken: lower the batch or the lengths, or raise `memory_mb`, and "
                    "resume the job"
                )
