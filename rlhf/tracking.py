"""Where a run's curves are told beside its folder: Weights & Biases, where a recipe asks for it.

Off the network unless WANDB_MODE=online: a run is kept in OUT/wandb, and `wandb sync` sends it whenever
somebody wants that. The package is nobody's dependency here.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

from rlhf.errors import TrainingError
from rlhf.ranks import is_first
from rlhf.recipe import Trainable

WANDB = "wandb"
QUIET = {
    "WANDB_MODE": "offline",
    "WANDB_SILENT": "true",
    "WANDB_PROJECT": "loopyard",
    "WANDB_LOG_MODEL": "false",
    "WANDB_WATCH": "false",
    "WANDB_DISABLE_GIT": "true",
    "WANDB_DISABLE_CODE": "true",
    "WANDB_ERROR_REPORTING": "false",
}
"""What holds where the environment says nothing: neither the network, nor weights, nor code."""


def require(recipe: Trainable) -> None:
    """Raises TrainingError where what the recipe asks for is not installed."""
    if WANDB not in recipe.tracking:
        return
    try:
        import_module(WANDB)
    except ImportError as error:
        raise TrainingError(
            "`tracking: [wandb]` needs the package wandb, which is not installed here: "
            "`python -m pip install wandb`, or leave it out of `tracking`"
        ) from error


@contextmanager
def tracked(recipe: Trainable, out: Path, facts: Mapping[str, Any]) -> Iterator[None]:
    """A run of W&B around a training, with the resolved recipe and `facts`; the trainer's own callback logs
    into it. Nothing where the recipe does not ask for it.
    """
    if WANDB not in recipe.tracking or not is_first():
        yield
        return
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    wandb: Any = import_module(WANDB)
    config = {"loopyard": {"recipe": recipe.model_dump(mode="json"), **facts}}
    run = wandb.init(project=os.environ["WANDB_PROJECT"], dir=str(out), name=out.name, config=config)
    try:
        yield
    except BaseException:
        run.finish(exit_code=1)
        raise
    run.finish()


def reports(recipe: Trainable) -> list[str]:
    """For transformers: to whom its trainer reports."""
    return [WANDB] if WANDB in recipe.tracking else []
