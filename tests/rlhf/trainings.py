"""What trainers have in common under test: a run that is killed in the middle, and small recipes."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from rlhf.methods import read_recipe
from rlhf.recipe import Common
from rlhf.runs import is_whole, last_checkpoint
from rlhf.training import Trained

TRAIN: dict[str, Any] = {
    "epochs": 1,
    "batch": 4,
    "save_steps": 2,
    "max_tokens": 256,
    "learning_rate": 0.01,
}
CODE = """
import json, sys
from pathlib import Path
from rlhf.methods import read_recipe, train
recipe, data, out, base = map(Path, sys.argv[1:])
train(read_recipe(recipe), data, out, base)
"""


def quiet(_: str) -> None:
    """Nobody reads."""


def plan(method: str, **changes: Any) -> Common:
    """A recipe of seconds on one thread; `train` goes over the six steps of four rows."""
    train = {**TRAIN, **changes.pop("train", {})}
    return read_recipe(method, threads=1, train=train, **changes)


def killed(recipe: Common, data: Path, out: Path, base: Path) -> None:
    """Begin a run in another process and kill it once it has a checkpoint."""
    out.mkdir(parents=True)
    recipe.save(out.with_suffix(".yaml"))
    command = [sys.executable, "-c", CODE, *map(str, (out.with_suffix(".yaml"), data, out, base))]
    process = subprocess.Popen(command, env={**os.environ, "PYTHONHASHSEED": "3"})
    while process.poll() is None and not any(map(is_whole, (out / "run").glob("checkpoint-*"))):
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (out / "trained.json").exists()
    assert last_checkpoint(out / "run") is not None


def same_after_a_kill(whole: Trained, recipe: Common, data: Path, out: Path, base: Path) -> None:
    """A killed run, gone on with, gives what `whole` gave."""
    from rlhf.methods import train

    killed(recipe, data, out, base)
    again = train(recipe, data, out, base, tell=quiet)
    assert again.digest == whole.digest
    assert again.steps == whole.steps
