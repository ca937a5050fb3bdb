"""One training in several processes, one a GPU: torchrun starts them, accelerate averages their gradients.

Each process computes `train.batch` rows at once, so a step has `batch * accumulate * processes` rows. The
first process alone writes, and what it says is what the caller hears. `python -m rlhf.ranks ORDER` is one.
"""

import ctypes
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlhf.errors import RlhfError, TrainingError
from rlhf.pipelines.events import EVENTS, report
from rlhf.recipe import Common, Trainable

if TYPE_CHECKING:
    from rlhf.training import Tell, Trained

RANK, WORLD = "RANK", "WORLD_SIZE"
"""torchrun's own variables."""
ORDER = "ranks.json"
_STEP = re.compile(r"step (\d+)/(\d+)")
_PR_SET_PDEATHSIG = 1


def count() -> int:
    """Processes of the training that this one is a part of."""
    return int(os.environ.get(WORLD, "1"))


def is_first() -> bool:
    """Whether this process is the one that writes."""
    return int(os.environ.get(RANK, "0")) == 0


@contextmanager
def first_alone(recipe: Common) -> Iterator[bool]:
    """The first process does what is inside, the others wait until it is done; True in the first."""
    if count() == 1:
        yield True
        return
    from accelerate import PartialState

    state = PartialState(cpu=recipe.device == "cpu")
    try:
        yield is_first()
    finally:
        state.wait_for_everyone()


def forget_evaluation(trainer: Any) -> None:
    """Let accelerate prepare the model anew: one that it prepared for an evaluation stays without averaged
    gradients in the training that follows, and each process would learn for itself.
    """
    trainer.accelerator._models.clear()
    vars(trainer.model).pop("_is_accelerate_prepared", None)


def require_averaging(trainer: Any) -> None:
    """Raises TrainingError where several processes have each learnt for themselves."""
    from torch.nn.parallel import DistributedDataParallel

    if count() > 1 and not isinstance(trainer.model_wrapped, DistributedDataParallel):
        raise TrainingError("the processes did not average their gradients: train with `processes: 1`")


def train_in_ranks(
    recipe: Trainable, dataset: Path, out: Path, base: Path, adapter: Path | None, tell: "Tell"
) -> "Trained":
    """Train as `carry_out` does, in several processes; killed, it goes on as one process would.

    Raises:
        TrainingError: what the first process says, or that there are fewer GPUs than processes.
    """
    from rlhf.training import Trained

    _refuse_too_few_gpus(recipe)
    out.mkdir(parents=True, exist_ok=True)
    for old in out.glob("rank-*.error"):
        old.unlink()
    order = {
        "recipe": recipe.model_dump(mode="json"),
        "dataset": str(dataset),
        "out": str(out),
        "base": str(base),
        "adapter": str(adapter) if adapter else None,
    }
    (out / ORDER).write_text(json.dumps(order))
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node"]
    command = [*torchrun, str(recipe.processes), "-m", "rlhf.ranks", str(out / ORDER)]
    # The descriptor of a step's events is not handed down; the lines are read here instead.
    environment = {k: v for k, v in os.environ.items() if k != EVENTS}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment
    ) as running:
        for line in running.stdout or ():
            tell(line.rstrip())
            if step := _STEP.search(line):
                report(int(step[1]) / int(step[2]), step[0])
    if running.returncode:
        said = [file.read_text() for file in sorted(out.glob("rank-*.error"))]
        raise TrainingError(said[0] if said else f"the processes ended with {running.returncode}: see above")
    (out / ORDER).unlink()
    return Trained(**json.loads((out / "trained.json").read_text(encoding="utf-8")))


def _refuse_too_few_gpus(recipe: Trainable) -> None:
    if recipe.device != "cuda":
        return
    import torch

    there = torch.cuda.device_count()
    if there < recipe.processes:
        raise TrainingError(
            f"the recipe asks for {recipe.processes} processes, one a GPU, and {there} GPUs are to be seen "
            "here: lower `processes`, or widen CUDA_VISIBLE_DEVICES"
        )


def main(order: dict[str, Any]) -> int:
    """One of the processes."""
    from rlhf.methods import train
    from rlhf.pipelines.proving import recipe_of

    # torchrun gives each process a session of its own: without this a killed training would go on computing.
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    out, adapter = Path(order["out"]), order["adapter"]
    try:
        train(
            recipe_of(order["recipe"]),
            Path(order["dataset"]),
            out,
            Path(order["base"]),
            Path(adapter) if adapter else None,
            lambda text: print(text, flush=True) if is_first() else None,  # noqa: T201 - the caller reads it
        )
    except RlhfError as error:
        (out / f"rank-{os.environ[RANK]}.error").write_text(str(error))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(json.loads(Path(sys.argv[1]).read_text())))
