"""Direct preference optimisation of a LoRA adapter (Rafailov et al., 2023), with TRL and PEFT, on a CPU too.

A new adapter is compared with its base (the adapter switched off); a loaded one with a frozen copy of itself.
A run that was killed goes on from its last whole checkpoint to the same adapter, bit for bit, on as many
threads.
"""

import errno
import hashlib
import json
import shutil
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import datasets
import torch
import transformers
from datasets import Dataset
from peft import LoraConfig, PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback, set_seed
from transformers.utils import logging as transformers_logging
from trl.trainer.dpo_config import DPOConfig
from trl.trainer.dpo_trainer import DPOTrainer

from rlhf.errors import TrainingError, WrongReference
from rlhf.pairs import Pairs, read_rows, render
from rlhf.progress import Progress
from rlhf.recipe import Recipe
from rlhf.registry import CONFIG, content_digest, weights_of, write
from rlhf.replay import Rehearsing, rehearsal

BASE_KEY = "base_sha256"
"""llm_server refuses an adapter whose configuration names another base under this key."""
DEPENDS = ("method", "seed", "device", "threads", "lora", "train", "replay")
"""Blocks of the recipe that the adapter depends on."""
FILES = ("train.jsonl", "held_out.jsonl")
ATTENTION = ("q_proj", "k_proj", "v_proj", "o_proj")
"""Layers of attention as most models name them."""
NOISE = 1e-3
"""Nats that a reward may be off zero before the first step."""
WHOLE = ("trainer_state.json", "optimizer.pt", "scheduler.pt", "adapter_model.safetensors")
"""Files of a checkpoint; the first is written last."""
Tell = Callable[[str], None]


@dataclass(frozen=True)
class Trained:
    """What a run gave."""

    digest: str
    """`sha256:` and 64 digits; llm_server gives the adapter the same name."""
    steps: int
    seconds: float
    """Of this process; a resumed run took longer."""
    rows: dict[str, Any]
    held_out: dict[str, Any]
    history: list[dict[str, float]]
    """One entry a step: loss, rewards, log-probabilities."""

    def save(self, path: Path) -> None:
        """As JSON."""
        path.write_text(json.dumps(asdict(self), indent=1) + "\n")


@contextmanager
def hushed() -> Iterator[None]:
    """No bars and no advice from the libraries below: `Progress` says how far it is. TRL and transformers use
    each other's old names, and warn of it.
    """
    datasets.disable_progress_bars()
    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]  # transformers' own
    transformers_logging.set_verbosity_error()  # type: ignore[no-untyped-call]  # transformers' own
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*is deprecated and will be removed", FutureWarning)
        yield


class Trainer(Rehearsing, DPOTrainer):
    """TRL's, without the message to its makers."""

    def _send_telemetry(self) -> None:
        """Nothing leaves the machine."""


def train(
    recipe: Recipe, dataset: Path, out: Path, base: Path, adapter: Path | None = None, tell: Tell = print
) -> Trained:
    """Train on `dataset`/train.jsonl, examine on held_out.jsonl; writes `out`/adapter and `out`/trained.json.

    `adapter` is a PEFT folder to go on from. A folder with checkpoints of the same run is resumed.

    Raises:
        TrainingError: nothing to train on, no memory, no room on the disk.
        WrongReference: before the first step the adapter differs from its reference.
    """
    if recipe.threads:
        torch.set_num_threads(recipe.threads)
    out.mkdir(parents=True, exist_ok=True)
    tokenizer = AutoTokenizer.from_pretrained(base, local_files_only=True)
    used, held = (render(read_rows(dataset / f), tokenizer, recipe.train.max_tokens) for f in FILES)
    tell(said("training", used))
    tell(said("held out", held))
    if not used.texts:
        raise TrainingError(f"{dataset} has no row to train on: {used.left_out or 'it is empty'}")
    began = time.monotonic()
    forget_other_runs(
        out / "run",
        [recipe.digest(*DEPENDS), used.texts, weights_of(base), adapter and content_digest(adapter)],
    )
    with hushed(), clear_errors(out):
        trainer = prepare(recipe, used, held, out, base, adapter, tokenizer)
        check_reference(trainer)
        trainer.train(resume_from_checkpoint=last_checkpoint(out / "run"))
        measured = examine(trainer, held)
        digest = save_adapter(trainer.model, out / "adapter", base)
        trained = Trained(
            digest,
            int(trainer.state.global_step),
            round(time.monotonic() - began, 1),
            {"train": used.summary(), "held_out": held.summary()},
            measured,
            history(trainer),
        )
        trained.save(out / "trained.json")
    shutil.rmtree(out / "run", ignore_errors=True)
    return trained


def forget_other_runs(run: Path, inputs: list[Any]) -> None:
    """Delete checkpoints of other data or another recipe: going on from them would be neither run."""
    key, file = hashlib.sha256(json.dumps(inputs).encode()).hexdigest(), run / "inputs.json"
    if run.exists() and (not file.is_file() or json.loads(file.read_text()) != {"key": key}):
        shutil.rmtree(run)
    run.mkdir(exist_ok=True)
    write(file, {"key": key})


def prepare(
    recipe: Recipe, used: Pairs, held: Pairs, out: Path, base: Path, adapter: Path | None, tokenizer: Any
) -> Trainer:
    """The trainer of a recipe, ready for its first step."""
    set_seed(recipe.seed)
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32, local_files_only=True)
    lora = LoraConfig(
        r=recipe.lora.rank,
        lora_alpha=recipe.lora.alpha,  # type: ignore[arg-type]  # a float is right, PEFT says int
        lora_dropout=recipe.lora.dropout,
        target_modules=list(ATTENTION) if recipe.lora.layers == "attention" else "all-linear",
        task_type="CAUSAL_LM",
    )
    if adapter is not None:
        model = load_adapter(model, adapter, trainable=True)
    made = Trainer(
        model=model,
        args=arguments(recipe, out),
        train_dataset=Dataset.from_list(used.texts),
        eval_dataset=Dataset.from_list(held.texts) if held.texts else None,
        processing_class=tokenizer,
        peft_config=None if adapter is not None else lora,
    )
    made.rehearsal = rehearsal(recipe.replay, tokenizer, recipe.seed, recipe.train.max_tokens)
    for callback in (transformers.PrinterCallback, transformers.ProgressCallback):
        made.remove_callback(callback)
    watch: TrainerCallback = Progress(recipe.train.batch)
    made.add_callback(watch)
    return made


def arguments(recipe: Recipe, out: Path) -> DPOConfig:
    """The recipe in TRL's words."""
    t = recipe.train
    return DPOConfig(
        output_dir=str(out / "run"),
        num_train_epochs=t.epochs,
        per_device_train_batch_size=t.batch,
        per_device_eval_batch_size=t.batch,
        learning_rate=t.learning_rate,
        warmup_steps=t.warm_up,
        lr_scheduler_type="linear",
        beta=t.beta,
        loss_type=["sigmoid", "sft"],
        loss_weights=[1.0, t.sft_weight],
        label_smoothing=t.label_smoothing,
        max_length=t.max_tokens,
        seed=recipe.seed,
        data_seed=recipe.seed,
        bf16=False,
        use_cpu=recipe.device == "cpu",
        gradient_checkpointing=False,
        logging_steps=1,
        save_steps=t.save_steps,
        save_total_limit=2,
        report_to=[],
        disable_tqdm=True,
        dataloader_pin_memory=False,
    )


def check_reference(trainer: Trainer) -> None:
    """Before the first step the adapter is its reference, so rewards are zero. WrongReference where not."""
    rows: Any = trainer.train_dataset
    few = rows.select(range(min(len(rows), 2 * trainer.args.train_batch_size)))
    found = trainer.evaluate(eval_dataset=few)
    trainer.state.log_history.clear()
    rewards = {name: found[f"eval_rewards/{name}"] for name in ("chosen", "rejected", "margins")}
    if any(abs(value) > NOISE for value in rewards.values()):
        raise WrongReference(
            f"before the first step rewards are {rewards} and not zero: the adapter is compared with "
            "something that it did not begin as. Train a new adapter, or go on from a PEFT folder."
        )


def examine(trainer: Trainer, held: Pairs) -> dict[str, Any]:
    """Held-out pairs under the trainer's own model: order, margin, whether chosen answers became likelier."""
    if not held.texts:
        return {"rows": 0}
    found = trainer.evaluate()
    nats = found["eval_rewards/chosen"] / trainer.beta
    return {
        "rows": len(held.texts),
        "reward_accuracy": found["eval_rewards/accuracies"],
        "margin": found["eval_rewards/margins"],
        "chosen_logps": found["eval_logps/chosen"],
        "chosen_change": nats * len(held.texts) / held.chosen_tokens,
    }


def history(trainer: Trainer) -> list[dict[str, float]]:
    """Logged steps, each once."""
    names = (
        "loss",
        "rehearsal",
        "rewards/margins",
        "rewards/accuracies",
        "logps/chosen",
        "logps/rejected",
        "learning_rate",
    )
    steps = {int(row["step"]): row for row in trainer.state.log_history if "loss" in row}
    return [
        {"step": step, **{n: float(row[n]) for n in names if n in row}} for step, row in sorted(steps.items())
    ]


@hushed()
def load_adapter(model: Any, folder: Path, trainable: bool = False) -> Any:
    """A base with a PEFT folder on it; our own key is not PEFT's and is taken off first."""
    content = json.loads((folder / CONFIG).read_text())
    content.pop(BASE_KEY, None)
    # A name that is no folder would be looked up on the hub.
    content |= {"base_model_name_or_path": model.name_or_path, "inference_mode": not trainable}
    config = LoraConfig(**content)
    return PeftModel.from_pretrained(model, str(folder), is_trainable=trainable, config=config)


def save_adapter(model: Any, folder: Path, base: Path) -> str:
    """Write a PEFT folder, whole or not at all, the same bytes for the same weights; its content's hash."""
    part = folder.with_name(f"{folder.name}.partial")
    shutil.rmtree(part, ignore_errors=True)
    model.save_pretrained(str(part), selected_adapters=["default"], save_embedding_layers=False)
    (part / "README.md").unlink(missing_ok=True)
    config = json.loads((part / CONFIG).read_text())
    config["target_modules"] = sorted(config["target_modules"])
    config["base_model_name_or_path"] = base.name
    if weights := weights_of(base):
        config[BASE_KEY] = weights
    (part / CONFIG).write_text(json.dumps(config, indent=1, sort_keys=True) + "\n")
    shutil.rmtree(folder, ignore_errors=True)
    part.rename(folder)
    return content_digest(folder)


def last_checkpoint(run: Path) -> str | None:
    """The newest whole checkpoint; those that a kill left half written are deleted."""
    found = sorted(run.glob("checkpoint-*"), key=lambda path: int(path.name.split("-")[1]))
    for path in reversed(found):
        if is_whole(path):
            return str(path)
        shutil.rmtree(path)
    return None


def is_whole(checkpoint: Path) -> bool:
    """Whether all of a checkpoint was written: its state comes last and can be read."""
    try:
        json.loads((checkpoint / WHOLE[0]).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return all((checkpoint / name).is_file() for name in WHOLE)


def said(what: str, pairs: Pairs) -> str:
    """A line for people: nothing is dropped silently."""
    left = "; ".join(f"{len(ids)} left out: {reason}" for reason, ids in pairs.left_out.items())
    return f"{what}: {len(pairs.texts)} pairs" + (f" ({left})" if left else "")


@contextmanager
def clear_errors(out: Path) -> Iterator[None]:
    """Full memory and full disk in words; what was there before stays."""
    try:
        yield
    except (MemoryError, torch.OutOfMemoryError) as error:
        raise out_of_memory(error) from error
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        raise disk_full(out) from error
    except Exception as error:
        text = str(error)
        if "No space left" in text or "PytorchStreamWriter failed" in text:
            raise disk_full(out) from error
        if "can't allocate memory" in text or "DefaultCPUAllocator" in text:
            raise out_of_memory(error) from error
        raise


def out_of_memory(error: BaseException) -> TrainingError:
    return TrainingError(
        f"not enough memory ({str(error)[:120]}): lower train.batch or train.max_tokens in the recipe; "
        "the run goes on from its last checkpoint if neither changes what it computes"
    )


def disk_full(out: Path) -> TrainingError:
    free = shutil.disk_usage(out).free
    return TrainingError(f"the disk of {out} is full ({free:,} bytes left): make room and repeat the command")
