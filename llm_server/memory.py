"""Memory that was freed goes back to the system."""

import ctypes
import sys


def give_back() -> None:
    """glibc keeps what is freed in pools of the threads that took it, and an engine's threads are gone by
    then (malloc_trim(3)). Takes milliseconds and no lock of ours.
    """
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # other C libraries have none
        if trim is not None:
            trim(0)
