"""Steps of a chain in a folder: one whose inputs are what they were is not done again."""

import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlhf.registry import write

Result = dict[str, Any]


@dataclass(frozen=True)
class Step:
    """One that is done."""

    name: str
    seconds: float
    """When it was really done."""
    reused: bool
    result: Result


class Steps:
    """The record of a chain."""

    def __init__(self, folder: Path, tell: Callable[[str], None]) -> None:
        self.folder, self.tell = folder, tell
        self.done: list[Step] = []
        folder.mkdir(parents=True, exist_ok=True)

    @staticmethod
    def key(name: str, inputs: list[Any]) -> str:
        """Hash of what a step depends on."""
        return hashlib.sha256(json.dumps([name, inputs], sort_keys=True).encode()).hexdigest()

    def run(
        self, name: str, inputs: list[Any], work: Callable[[], Result], still: Callable[[Result], bool]
    ) -> Result:
        """The result of `work`, recorded; the recorded one where `inputs` are the same and `still` holds of
        it (its files are there, the server still serves it).
        """
        key = self.key(name, inputs)
        file = self.folder / f"{name}.json"
        known = json.loads(file.read_text()) if file.is_file() else {}
        if known.get("inputs") == key and still(known["result"]):
            self.tell(f"{name}: nothing has changed since it was done")
            self.done.append(Step(name, known["seconds"], True, known["result"]))
            return dict(known["result"])
        self.tell(f"{name} …")
        began = time.monotonic()
        result = work()
        seconds = round(time.monotonic() - began, 1)
        write(file, {"inputs": key, "seconds": seconds, "result": result})
        self.done.append(Step(name, seconds, False, result))
        return result
