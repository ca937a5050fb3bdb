"""What every trainer shares: one folder a run, going on after a kill, errors in words, curves, the record.

A run that was killed goes on from its last whole checkpoint to the same result, bit for bit, on as many
threads. What a method does of its own is a `Method`; `carry_out` does the rest.
"""

import json
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import torch
import transformers
from transformers import AutoTokenizer, TrainerCallback, set_seed

from rlhf.errors import ObjectError, TrainingError
from rlhf.fit import choose, chosen
from rlhf.objects.checkpoints import Keeping, forget, latest
from rlhf.objects.depot import Depot, LocalDepot
from rlhf.objects.depots import checkpoints
from rlhf.objects.settings import Settings as ObjectSettings
from rlhf.pairs import Used
from rlhf.progress import Progress
from rlhf.ranks import count, first_alone, forget_evaluation, require_averaging
from rlhf.recipe import Common, Trainable
from rlhf.registry import file_sha256, folder_digest, weights_of
from rlhf.report import curves
from rlhf.runs import data_files, forget_other_runs, last_checkpoint, paths, record
from rlhf.tracking import reports, require, tracked
from rlhf.troubles import clear_errors, hushed

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Trained:
    """What a run gave."""

    digest: str
    """`sha256:` and 64 digits over the result's content; llm_server gives an adapter the same name."""
    steps: int
    seconds: float
    """Of this process; a resumed run took longer."""
    rows: dict[str, Any]
    held_out: dict[str, Any]
    history: list[dict[str, float]]
    """One entry a step: loss, rate and what the method adds."""
    method: str = ""
    result: str = ""
    """Folder or file of the result below the run's folder."""
    dataset: str = ""
    """Folder of the rows."""
    data: dict[str, str] | None = None
    """SHA-256 of each file of rows."""
    base: dict[str, str] | None = None
    """Path and SHA-256 of what was begun with."""
    code: dict[str, str] | None = None
    """Versions of what computed."""
    recipe: dict[str, Any] | None = None

    def save(self, folder: Path) -> None:
        """As trained.json, with the curves as curves.png where there are any."""
        (folder / "trained.json").write_text(json.dumps(asdict(self), indent=1, ensure_ascii=False) + "\n")
        if self.history:
            (folder / "curves.png").write_bytes(curves(self.history))


class Method(Protocol):
    """What a method of training does of its own, around a trainer of transformers."""

    name: str

    @property
    def logged(self) -> tuple[str, ...]:
        """What the trainer logs a step beside the loss."""

    @property
    def depends(self) -> tuple[str, ...]:
        """Blocks of the recipe that the result depends on."""

    def read(self, file: Path, tokenizer: Any, recipe: Any) -> Used:
        """The usable rows of a file. BadRecords where a row is bad."""

    def prepare(
        self, recipe: Any, used: Used, held: Used, out: Path, base: Path, adapter: Path | None
    ) -> Any:
        """The trainer, ready for its first step."""

    def check(self, trainer: Any) -> None:
        """Before the first step. TrainingError where it must not begin."""

    def examine(self, trainer: Any, held: Used) -> dict[str, Any]:
        """Figures on the held-out rows."""

    def save(self, trainer: Any, recipe: Any, out: Path, base: Path) -> tuple[str, str]:
        """Write the result below `out`; (its name there, its digest)."""


def carry_out(
    method: Method, recipe: Trainable, dataset: Path, out: Path, base: Path, adapter: Path | None, tell: Tell
) -> Trained:
    """Train on `dataset`/train.jsonl, examine on held_out.jsonl where there is one.

    Writes the result, trained.json, recipe.yaml and curves.png into `out`. A folder with checkpoints of the
    same run is resumed.

    Raises:
        BadRecords: rows that cannot be read, each with file, line and reason.
        TrainingError: no base, nothing to train on, no memory, no room on the disk, no such device.
    """
    began = time.monotonic()
    require(recipe)
    files = data_files(dataset, recipe.method)
    tokenizer = begin(recipe, base)
    read = [file if file in files else None for file in paths(dataset)]
    used, held = (method.read(f, tokenizer, recipe) if f else Used() for f in read)
    if not used.texts:
        raise TrainingError(f"{dataset} has no row to train on: {used.left_out or 'it is empty'}")
    with first_alone(recipe) as first:
        if first:
            out.mkdir(parents=True, exist_ok=True)
            choose(recipe, used, tokenizer, base, adapter, out)
    asked, (recipe, why) = recipe, chosen(recipe, base, out)
    if why:
        tell(f"memory: {why}")
    if recipe.train.batch != asked.train.batch:
        # Which rows can be used depends on how many are computed at once.
        used, held = (method.read(f, tokenizer, recipe) if f else Used() for f in read)
    tell(said("training", used))
    tell(said("held out", held))
    begun = [weights_of(base), folder_digest(adapter) if adapter else None]
    depot: Depot = LocalDepot(out / "run")
    with first_alone(recipe) as first:
        if first:
            inputs = [recipe.digest("processes", *method.depends), used.texts, *begun]
            depot = checkpoints(
                ObjectSettings.from_environment(), out / "run", forget_other_runs(out / "run", inputs)
            )
            _begin_with_what_is_kept(depot, out / "run", tell)
    facts = {"data": {file.name: file_sha256(file) for file in files}, "base": begun[0]}
    with hushed(), clear_errors(out), tracked(recipe, out, facts):
        set_seed(recipe.seed)
        trainer = method.prepare(recipe, used, held, out, base, adapter)
        watch(trainer, recipe.train.batch * recipe.train.accumulate * recipe.processes)
        trainer.add_callback(Keeping(depot, tell))
        method.check(trainer)
        forget_evaluation(trainer)
        if last := last_checkpoint(out / "run"):
            tell(f"goes on from step {last.rpartition('-')[2]}, its last checkpoint")
        trainer.train(resume_from_checkpoint=last)
        require_averaging(trainer)
        measured = method.examine(trainer, held)
        trained = Trained(
            "",
            int(trainer.state.global_step),
            round(time.monotonic() - began, 1),
            {"train": used.summary(), "held_out": held.summary()},
            measured,
            history(trainer.state.log_history, method.logged),
        )
        with first_alone(recipe) as first:
            if first:
                result, digest = method.save(trainer, recipe, out, base)
                made_of = record(method.name, result, recipe, files, base)
                trained = replace(trained, digest=digest, **made_of)
                trained.save(out)
                _forget_what_is_kept(depot, tell)
                shutil.rmtree(out / "run", ignore_errors=True)
    return trained


def _begin_with_what_is_kept(depot: Depot, run: Path, tell: Tell) -> None:
    """Delete what is not whole; where nothing is left, take what another machine has kept of this run."""
    if last_checkpoint(run):
        return
    try:
        if (found := latest(depot)) and last_checkpoint(run):
            tell(f"{found.name} of this training was kept by another machine")
    except ObjectError as error:
        tell(f"begins anew: {error}")


def _forget_what_is_kept(depot: Depot, tell: Tell) -> None:
    try:
        forget(depot)
    except ObjectError as error:
        tell(f"checkpoints of this training are left in the bucket: {error}")


def begin(recipe: Common, base: Path) -> Any:
    """Threads and device as the recipe wants them; the base's tokenizer. TrainingError where it cannot be."""
    if recipe.threads:
        torch.set_num_threads(recipe.threads)
    if recipe.device == "cuda" and not torch.cuda.is_available():
        raise TrainingError(
            "the recipe asks for `device: cuda`, and torch sees no GPU here: use `device: cpu`"
        )
    if not (base / "config.json").is_file():
        raise TrainingError(
            f"the base {base} is no model: it has no config.json; give --base a model's folder"
        )
    return AutoTokenizer.from_pretrained(base, local_files_only=True)


def arguments(recipe: Trainable, out: Path) -> dict[str, Any]:
    """What a recipe says to transformers' own arguments, whatever the method."""
    t = recipe.train
    return {
        "output_dir": str(out / "run"),
        "num_train_epochs": t.epochs,
        "per_device_train_batch_size": t.batch,
        "per_device_eval_batch_size": t.batch,
        "gradient_accumulation_steps": t.accumulate,
        "learning_rate": t.learning_rate,
        "warmup_steps": t.warm_up,
        "lr_scheduler_type": t.schedule,
        "seed": recipe.seed,
        "data_seed": recipe.seed,
        "bf16": t.precision == "bfloat16",
        "fp16": t.precision == "float16",
        "use_cpu": recipe.device == "cpu",
        "ddp_backend": "gloo" if recipe.device == "cpu" and count() > 1 else None,
        "gradient_checkpointing": t.gradient_checkpointing,
        "logging_steps": 1,
        "save_steps": t.save_steps,
        "save_total_limit": 2,
        "report_to": reports(recipe),
        "disable_tqdm": True,
        "dataloader_pin_memory": False,
    }


def watch(trainer: Any, batch: int) -> None:
    """Our progress in place of theirs."""
    for callback in (transformers.PrinterCallback, transformers.ProgressCallback):
        trainer.remove_callback(callback)
    progress: TrainerCallback = Progress(batch)
    trainer.add_callback(progress)


def history(log: list[dict[str, Any]], logged: tuple[str, ...]) -> list[dict[str, float]]:
    """Logged steps, each once."""
    names = ("loss", *logged, "learning_rate")
    steps = {int(row["step"]): row for row in log if "loss" in row}
    return [
        {"step": step, **{n: float(row[n]) for n in names if n in row}} for step, row in sorted(steps.items())
    ]


def said(what: str, used: Used) -> str:
    """A line for people: nothing is dropped silently."""
    left = "; ".join(f"{len(ids)} left out: {reason}" for reason, ids in used.left_out.items())
    weights = used.weights().get("weights", {})
    weighed = ", ".join(f"{count} of weight {weight}" for weight, count in weights.items())
    said = "; ".join(filter(None, (weighed, left)))
    return f"{what}: {len(used.texts)} {used.called}" + (f" ({said})" if said else "")
