"""What a recipe would need, as lines for people."""

from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, TypeVar

from rlhf.errors import TrainingError
from rlhf.fit import AUTO, SPARE, fit, tries
from rlhf.loads import load_of
from rlhf.machine import this_machine
from rlhf.memory import size
from rlhf.methods import known, read_recipe
from rlhf.quantised import held
from rlhf.recipe import Trainable
from rlhf.runs import FILES
from rlhf.training import begin

Kept = TypeVar("Kept", bound=Trainable)


@dataclass(frozen=True)
class Seen:
    """What was found out."""

    lines: list[tuple[str, ...]]
    """Precision, checkpointing, rows at once, base, need, whether it fits; up to the first that does."""
    said: str
    """The choice and its reason, or what is missing."""
    fits: bool


def look(
    source: str, data: Path, base: Path | None, auto: bool, free_gb: float | None, goes_on: bool
) -> Seen:
    """Estimate a recipe on a dataset, trying what `auto` would.

    Raises:
        TrainingError: the method is not trained step by step, or there are no rows.
        RecipeError, BadRecords: as training has them.
    """
    recipe = read_recipe(source)
    method = known(recipe.method)
    if not isinstance(recipe, Trainable) or not method.way:
        raise TrainingError(f"`{recipe.method}` is not trained step by step: it needs what its texts need")
    recipe, base = _all_auto(recipe) if auto else recipe, base or method.base()
    tokenizer = begin(recipe, base)
    way: Any = getattr(import_module(method.module), method.way)()
    used = way.read(data / FILES[0], tokenizer, recipe)
    if not used.texts:
        raise TrainingError(f"{data} has no row to train on: {used.left_out or 'it is empty'}")
    load = load_of(recipe, used, tokenizer, goes_on)
    machine = this_machine(recipe.device, recipe.processes, held(recipe) == AUTO, free_gb)
    lines = list[tuple[str, ...]]()
    for needed, tried in tries(recipe, base, load, machine):
        train, fits = tried.changes["train"], needed.total <= machine.free * SPARE
        how = tried.changes.get("quantisation", held(recipe))
        rows = f"{train['batch']} x {train['accumulate']}"
        checkpointing = "yes" if train["gradient_checkpointing"] else "no"
        lines.append(
            (train["precision"], checkpointing, rows, how, size(needed.total), "yes" if fits else "no")
        )
        if fits:
            break
    try:
        return Seen(lines, fit(recipe, base, load, machine).reason, True)
    except TrainingError as error:
        return Seen(lines, str(error), False)


def _all_auto(recipe: Kept) -> Kept:
    train = recipe.train.model_copy(update={"precision": AUTO})
    able = hasattr(recipe, "quantisation") and getattr(recipe, "tuning", "lora") == "lora"
    return recipe.model_copy(update={"train": train, **({"quantisation": AUTO} if able else {})})
