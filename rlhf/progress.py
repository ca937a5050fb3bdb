"""How far a training run is: step, rate, time left, loss."""

import time
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar
from transformers import TrainerCallback

from rlhf.pipelines.events import report


class Progress(TrainerCallback):
    """A bar in a terminal; a line every tenth of the way elsewhere."""

    def __init__(self, batch: int) -> None:
        self.batch, self.console = batch, Console(stderr=True)
        self.bar: Bar | None = None
        self.task: Any = None
        self.began, self.first = 0.0, 0

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Begin where a resumed run begins."""
        self.began, self.first = time.monotonic(), state.global_step
        if self.console.is_terminal and state.is_world_process_zero:
            columns = (
                BarColumn(),
                MofNCompleteColumn(),
                TimeRemainingColumn(),
                TextColumn("{task.description}"),
            )
            self.bar = Bar(*columns, console=self.console)
            self.task = self.bar.add_task("", total=state.max_steps, completed=state.global_step)
            self.bar.start()

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
        """One step."""
        if not logs or "loss" not in logs or not state.is_world_process_zero:
            return
        seconds = max(1e-6, time.monotonic() - self.began)
        rate = (state.global_step - self.first) * self.batch / seconds
        text = f"loss {logs['loss']:.3f}  {rate:.1f} rows/s"
        left = seconds / max(1, state.global_step - self.first) * (state.max_steps - state.global_step)
        said = f"step {state.global_step} of {state.max_steps}, loss {logs['loss']:.3f}"
        report(state.global_step / max(1, state.max_steps), said, rate, left)
        if self.bar is not None:
            self.bar.update(self.task, completed=state.global_step, description=text)
        elif state.global_step % max(1, state.max_steps // 10) == 0:
            self.console.print(f"step {state.global_step}/{state.max_steps}  {text}  {left:.0f} s left")

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Leave the terminal as it was."""
        if self.bar is not None:
            self.bar.stop()
