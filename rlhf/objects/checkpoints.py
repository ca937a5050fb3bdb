"""Checkpoints of a training, kept while it runs: another machine goes on from them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from rlhf.errors import ObjectError
from rlhf.objects.depot import Depot


class Keeping(TrainerCallback):
    """Keeps each checkpoint once it is whole, and drops those that the trainer has deleted."""

    def __init__(self, depot: Depot, tell: Callable[[str], None]) -> None:
        self.depot, self.tell = depot, tell

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """A store that is away or refuses does not end the training: the checkpoint is whole here."""
        if not state.is_world_process_zero:
            return
        run = self.depot.root
        try:
            self.depot.keep(run / f"checkpoint-{state.global_step}")
            for name in self.depot.held():
                if not (run / name).is_dir():
                    self.depot.drop(run / name)
        except ObjectError as error:
            self.tell(f"the checkpoint is on this machine alone: {error}")


def latest(depot: Depot) -> Path | None:
    """The newest checkpoint that is kept, brought here; None where there is none."""
    names = [name for name in depot.kept() if name.startswith("checkpoint-")]
    for name in sorted(names, key=lambda name: int(name.split("-")[1]), reverse=True):
        if depot.bring(depot.root / name):
            return depot.root / name
    return None


def forget(depot: Depot) -> None:
    """The training has ended."""
    for name in depot.kept():
        depot.drop(depot.root / name)
