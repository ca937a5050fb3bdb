"""What a recipe leaves to `auto`, chosen to fit the memory that is free; refused where nothing fits.

`train.precision: auto` chooses precision, gradient checkpointing and how a batch is divided: the rows of a
step stay as many. `quantisation: auto` may hold the frozen base in fewer bits, where nothing else is enough.
"""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import Any, TypeVar

from rlhf.errors import TrainingError
from rlhf.loads import Load, load_of
from rlhf.machine import Machine, this_machine
from rlhf.memory import Estimate, Need, size
from rlhf.pairs import Used
from rlhf.quantised import held
from rlhf.recipe import Trainable
from rlhf.registry import weights_of, write

AUTO = "auto"
HELD = ("none", "bfloat16", "int8", "int4")
"""How the base may be held, the most exact first."""
SPARE = 0.9
"""Share of the free memory that is planned with."""
RECORD = "memory.json"
Fitting = TypeVar("Fitting", bound=Trainable)


@dataclass(frozen=True)
class Fit:
    """A recipe that fits, and why."""

    changes: dict[str, Any]
    """Of the recipe; empty where it left nothing to choose."""
    reason: str

    def over(self, recipe: Fitting) -> Fitting:
        """The recipe with nothing `auto` in it."""
        train = recipe.train.model_copy(update=self.changes.get("train", {}))
        rest = {key: value for key, value in self.changes.items() if key != "train"}
        return recipe.model_copy(update={**rest, "train": train})


def is_auto(recipe: Trainable) -> bool:
    """Whether there is something to choose."""
    return AUTO in (recipe.train.precision, held(recipe))


def fit(recipe: Trainable, base: Path, load: Load, machine: Machine) -> Fit:
    """The first of the possibilities that fits, the fastest and most exact first.

    Raises:
        TrainingError: none does; names what the smallest needs, what is free and what helps.
    """
    free, seen = int(machine.free * SPARE), list[tuple[Need, Fit]]()
    for needed, tried in tries(recipe, base, load, machine):
        seen.append((needed, tried))
        if needed.total <= free:
            return Fit(tried.changes, _reason(recipe, tried.changes, needed, seen[0][0], machine))
    smallest, tried = min(seen, key=lambda one: one[0].total)
    raise TrainingError(
        f"this training does not fit into memory: with {in_words(recipe, tried.changes)} it still needs "
        f"{smallest}, "
        f"and of the {size(machine.free)} that are free on the {_place(machine)} {size(free)} may be used: "
        f"{size(smallest.total - free)} are missing. {_remedy(recipe, load, machine)}"
    )


def tries(recipe: Trainable, base: Path, load: Load, machine: Machine) -> Iterator[tuple[Need, Fit]]:
    """Every possibility with what it needs."""
    estimate = Estimate(base, load)
    for changes in possibilities(recipe, machine):
        tried = Fit(changes, "")
        yield estimate.need(tried.over(recipe)), tried


def possibilities(recipe: Trainable, machine: Machine) -> Iterator[dict[str, Any]]:
    """Values in place of `auto`, the fastest and most exact first."""
    t, how = recipe.train, held(recipe)
    free = t.precision == AUTO
    precisions = _precisions(machine) if free else [t.precision]
    checkpoints = [False, True] if free and not t.gradient_checkpointing else [t.gradient_checkpointing]
    batches = _batches(recipe) if free else [t.batch]
    for base, precision, checkpoint, batch in product(
        _bases(recipe, machine) if how == AUTO else [how], precisions, checkpoints, batches
    ):
        train = {
            "precision": precision,
            "gradient_checkpointing": checkpoint,
            "batch": batch,
            "accumulate": t.accumulate * t.batch // batch,
        }
        yield {"train": train, **({"quantisation": base} if how == AUTO else {})}


def _precisions(machine: Machine) -> list[str]:
    # Single precision is the faster one on most processors, and the slower one on a GPU.
    return ["float32", "bfloat16"] if machine.device == "cpu" else [machine.half]


def _bases(recipe: Trainable, machine: Machine) -> list[str]:
    if getattr(recipe, "tuning", "") == "full":
        return ["none"]
    able = {"none", *machine.quantised, *(["bfloat16"] if machine.bfloat16 else [])}
    return [how for how in HELD if how in able]


def _batches(recipe: Trainable) -> list[int]:
    """How many rows may be computed at once. An encoder learns from the other rows of its batch, and KTO
    from each row's neighbour.
    """
    batch = recipe.train.batch
    if recipe.method == "embedding":
        return [batch]
    least = 2 if recipe.method == "kto" else 1
    return [rows for rows in range(batch, least - 1, -1) if batch % rows == 0]


def choose(
    recipe: Trainable, used: Used, tokenizer: Any, base: Path, adapter: Path | None, out: Path
) -> None:
    """Write down what is chosen for a run in `out`, and its resolved recipe. A run that goes on has chosen
    when it began: another choice would be another run. TrainingError as `fit`.
    """
    if not is_auto(recipe):
        recipe.save(out / "recipe.yaml")
        return
    if _record(recipe, base, out) is None:
        machine = this_machine(recipe.device, recipe.processes, held(recipe) == AUTO)
        found = fit(recipe, base, load_of(recipe, used, tokenizer, adapter is not None), machine)
        write(out / RECORD, {"asked": _asked(recipe, base), **asdict(found)})
    resolved, why = chosen(recipe, base, out)
    resolved.save(out / "recipe.yaml", f"memory: {why}")


def chosen(recipe: Fitting, base: Path, out: Path) -> tuple[Fitting, str]:
    """The recipe as `choose` has resolved it, and why; itself where it left nothing to choose."""
    if not is_auto(recipe) or (found := _record(recipe, base, out)) is None:
        return recipe, ""
    return found.over(recipe), found.reason


def _record(recipe: Trainable, base: Path, out: Path) -> Fit | None:
    try:
        found = json.loads((out / RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return Fit(found["changes"], found["reason"]) if found["asked"] == _asked(recipe, base) else None


def _asked(recipe: Trainable, base: Path) -> list[str]:
    return [recipe.digest(), weights_of(base)]


def in_words(recipe: Trainable, changes: dict[str, Any]) -> str:
    """A possibility for people."""
    t = changes["train"]
    rows = f"{t['batch']} rows at once" if t["batch"] > 1 else "one row at once"
    parts = [str(t["precision"]), rows + (f", {t['accumulate']} times a step" if t["accumulate"] > 1 else "")]
    parts += ["gradient checkpointing"] if t["gradient_checkpointing"] else []
    how = changes.get("quantisation", held(recipe))
    return ", ".join([*parts, *([f"the base in {how}"] if how != "none" else [])])


def _reason(recipe: Trainable, changes: dict[str, Any], needed: Need, first: Need, machine: Machine) -> str:
    said = (
        f"{in_words(recipe, changes)}: needs {needed}; {size(machine.free)} are free on the {_place(machine)}"
    )
    if needed is first:
        return said
    return f"{said}, too little for the fastest possibility, which needs {size(first.total)}"


def _place(machine: Machine) -> str:
    return "GPU" if machine.device == "cuda" else "CPU"


def _remedy(recipe: Trainable, load: Load, machine: Machine) -> str:
    ways = [f"lower `train.max_tokens` (the longest row has {load.tokens} tokens)"]
    if getattr(recipe, "tuning", "lora") == "full":
        ways.append("train an adapter (`tuning: lora`)")
    elif hasattr(recipe, "quantisation") and held(recipe) != AUTO:
        ways.append("let the base be held in fewer bits (`quantisation: auto`)")
    elif hasattr(recipe, "quantisation") and not machine.quantised:
        ways.append("get bitsandbytes to run (python -m pip install bitsandbytes) for a base in four bits")
    if recipe.train.precision != AUTO:
        ways.append("let the batch be divided (`train.precision: auto`)")
    return ", ".join(ways) + ", take a smaller base, or free memory."
