"""What a training may use here: the memory that is free, the numbers that the device computes with."""

import contextlib
import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import torch

from rlhf.settings import Settings

GROUP = Path("/sys/fs/cgroup")
"""Where a container finds its own limit (cgroup v2)."""
QUANTISED = {"int8": "Linear8bitLt", "int4": "Linear4bit"}
"""Layers of bitsandbytes."""


@dataclass(frozen=True)
class Machine:
    """The device of one process of a training."""

    device: str
    free: int
    """Bytes."""
    bfloat16: bool = True
    """Whether it computes in it; a GPU that does not has float16."""
    quantised: frozenset[str] = frozenset()
    """Of `int8` and `int4`, what bitsandbytes runs here."""

    @property
    def half(self) -> str:
        """The precision of two bytes."""
        return "bfloat16" if self.bfloat16 else "float16"


def this_machine(
    device: str, processes: int = 1, quantised: bool = False, free_gb: float | None = None
) -> Machine:
    """What is free now, for each of so many processes; at most RLHF_MEMORY_MB.

    Args:
        quantised: look whether bitsandbytes runs, which takes seconds.
        free_gb: as if so much were free.
    """
    limit = Settings.from_environment().memory_mb
    on_gpu = device == "cuda"
    if free_gb is not None:
        free, limit = int(free_gb * 2**30), None
    else:
        free = torch.cuda.mem_get_info()[0] if on_gpu else free_memory() // processes
    runs = frozenset(kind for kind in QUANTISED if quantised and bitsandbytes_runs(kind, device))
    able = not on_gpu or torch.cuda.is_bf16_supported(including_emulation=False)
    return Machine(device, min(free, limit * 2**20) if limit else free, able, runs)


def free_memory() -> int:
    """Bytes of RAM that this process can still get, in a container too."""
    free = int(psutil.virtual_memory().available)
    # Without a limit there is the word `max`, elsewhere no such file.
    with contextlib.suppress(OSError, ValueError):
        most, used = (int((GROUP / f"memory.{name}").read_text()) for name in ("max", "current"))
        stat = dict(line.split() for line in (GROUP / "memory.stat").read_text().splitlines())
        free = min(free, most - used + int(stat["inactive_file"]))
    return max(0, free)


def bitsandbytes_runs(kind: str, device: str) -> bool:
    """Whether a layer of `int8` or `int4` computes here, both ways: to be installed is not enough."""
    try:
        layers: Any = importlib.import_module("bitsandbytes").nn
        layer = getattr(layers, QUANTISED[kind])(64, 64).to(device)
        rows = torch.ones(2, 64, device=device, requires_grad=True)
        layer(rows).sum().backward()
    except Exception:  # it fails in its own ways where a driver, a kernel or a library is missing
        return False
    return True
