"""NVIDIA's graphics cards, as its management library (NVML, beside every driver) tells of them.

https://docs.nvidia.com/deploy/nvml-api/: the few calls that are needed, without a package for them.
"""

import ctypes
import logging
from dataclasses import dataclass
from functools import cache

log = logging.getLogger(__name__)
LIBRARY = "libnvidia-ml.so.1"


@dataclass(frozen=True, slots=True)
class Card:
    """One card: bytes, and the share of the last second or less that it computed."""

    number: int
    memory: float
    used: float
    busy: float


class _Memory(ctypes.Structure):
    """nvmlMemory_t."""

    _fields_ = (("total", ctypes.c_ulonglong), ("free", ctypes.c_ulonglong), ("used", ctypes.c_ulonglong))


class _Utilization(ctypes.Structure):
    """nvmlUtilization_t, in percent."""

    _fields_ = (("gpu", ctypes.c_uint), ("memory", ctypes.c_uint))


def cards(library: str = LIBRARY) -> list[Card]:
    """Those of this machine now; none where the library, or the driver, is not there."""
    nvml = _opened(library)
    if nvml is None:
        return []
    count = ctypes.c_uint()
    if nvml.nvmlDeviceGetCount_v2(ctypes.byref(count)):
        return []
    return [card for number in range(count.value) if (card := _card(nvml, number)) is not None]


def _card(nvml: ctypes.CDLL, number: int) -> Card | None:
    """None for one that cannot be asked; what it does not tell is 0."""
    handle, memory, busy = ctypes.c_void_p(), _Memory(), _Utilization()
    if nvml.nvmlDeviceGetHandleByIndex_v2(ctypes.c_uint(number), ctypes.byref(handle)):
        return None
    nvml.nvmlDeviceGetMemoryInfo(handle, ctypes.byref(memory))
    nvml.nvmlDeviceGetUtilizationRates(handle, ctypes.byref(busy))
    return Card(number, float(memory.total), float(memory.used), busy.gpu / 100)


@cache
def _opened(library: str) -> ctypes.CDLL | None:
    """Once in a process: it stays initialised."""
    try:
        nvml = ctypes.CDLL(library)
    except OSError:
        return None
    if nvml.nvmlInit_v2():
        log.warning("the driver of the graphics cards does not answer", extra={"library": library})
        return None
    return nvml
