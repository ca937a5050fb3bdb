"""How a step says how far it is: lines of JSON on a descriptor that the worker reads."""

from __future__ import annotations

import json
import os

EVENTS = "LOOPYARD_STEP_EVENTS"


def report(done: float, text: str = "", rate: float | None = None, left_s: float | None = None) -> None:
    """Say how far the work is (0 to 1); outside of a step nobody hears it."""
    number = os.environ.get(EVENTS)
    if number is None:
        return
    line = {"done": min(1.0, max(0.0, done)), "text": text, "rate": rate, "left_s": left_s}
    os.write(int(number), json.dumps(line).encode() + b"\n")
