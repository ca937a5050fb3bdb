"""Direct preference optimisation of a LoRA adapter (Rafailov et al., 2023), with TRL and PEFT, on a CPU too.

A new adapter is compared with its base (the adapter switched off); a loaded one with a frozen copy of itself.
Beside the pairs, work that should stay as it is can be rehearsed.
"""

from pathlib import Path
from typing import Any

from datasets import Dataset
from transformers import AutoTokenizer
from trl.trainer.dpo_config import DPOConfig
from trl.trainer.dpo_trainer import DPOTrainer

from rlhf.adapters import keep_share, load_adapter, lora_config, save_adapter
from rlhf.errors import WrongReference
from rlhf.pairs import Pairs, Used, render
from rlhf.quantised import load_base, train_in_single
from rlhf.recipe import Recipe
from rlhf.records import read_jsonl
from rlhf.replay import Rehearsing, rehearsal
from rlhf.training import Tell, Trained, arguments, carry_out
from rlhf.weights import Batch, Weighing, unweighed, weighed

DEPENDS = ("method", "seed", "device", "threads", "quantisation", "lora", "train", "replay")
"""Blocks of the recipe that the adapter depends on."""
NOISE = 1e-3
"""Nats that a reward may be off zero before the first step."""


class Trainer(Rehearsing, Weighing, DPOTrainer):
    """TRL's, without the message to its makers."""

    def _send_telemetry(self) -> None:
        """Nothing leaves the machine."""

    def part(self, name: str, value: Any, rows: list[int], count: int) -> Any:
        """The batch has all chosen answers, then all rejected ones."""
        return value[[*rows, *(count + row for row in rows)]]

    def share(
        self, whole: Batch, part: Batch, rows: float, given: tuple[Any, ...], named: dict[str, Any]
    ) -> Any:
        """The likelihood of chosen answers is a mean over their tokens, not over rows."""
        mine, all_ = (
            int(batch["completion_mask"][: len(batch["completion_mask"]) // 2, 1:].sum())
            for batch in (part, whole)
        )
        trainer: Any = self
        pairs, likelihood = trainer.args.loss_weights
        trainer.loss_weights = [pairs, likelihood * mine / all_ / rows]
        return rows

    def compute_loss(self, model: Any, inputs: Any, *given: Any, **named: Any) -> Any:
        """The loss as its rows weigh, and the rehearsal's."""
        trainer: Any = self
        try:
            return super().compute_loss(model, inputs, *given, **named)
        finally:
            trainer.loss_weights = trainer.args.loss_weights


class Dpo:
    """What DPO does of its own."""

    name = "dpo"
    logged = ("rehearsal", "rewards/margins", "rewards/accuracies", "logps/chosen", "logps/rejected")
    depends = DEPENDS

    def __init__(self) -> None:
        self.keep = 1.0

    def read(self, file: Path, tokenizer: Any, recipe: Recipe) -> Pairs:
        """Pairs as text."""
        return render([row.plain() for row in read_jsonl(file)], tokenizer, recipe.train.max_tokens)

    def prepare(
        self, recipe: Recipe, used: Used, held: Used, out: Path, base: Path, adapter: Path | None
    ) -> Trainer:
        """A new adapter on the base, or the one to go on from."""
        model = load_base(base, recipe)
        if adapter is not None:
            model = load_adapter(model, adapter, trainable=True)
        tokenizer = AutoTokenizer.from_pretrained(base, local_files_only=True)
        made = Trainer(
            model=model,
            args=dpo_arguments(recipe, out),
            train_dataset=Dataset.from_list(weighed(used)),
            eval_dataset=Dataset.from_list(unweighed(held)) if held.texts else None,
            processing_class=tokenizer,
            peft_config=None if adapter is not None else lora_config(recipe.lora),
        )
        made.keep_weights()
        train_in_single(made.model)
        made.rehearsal = rehearsal(recipe.replay, tokenizer, recipe.seed, recipe.train.max_tokens)
        # A loaded adapter has no base to go back to but the one that it began with.
        self.keep = recipe.lora.keep if adapter is None else 1.0
        return made

    def check(self, trainer: Any) -> None:
        """The reference is what the adapter began as."""
        check_reference(trainer)

    def examine(self, trainer: Any, held: Used) -> dict[str, Any]:
        """Order, margin, whether chosen answers became likelier, of the adapter as it will be saved."""
        keep_share(trainer.model, self.keep)
        return examine(trainer, held)

    def save(self, trainer: Any, recipe: Recipe, out: Path, base: Path) -> tuple[str, str]:
        """A PEFT folder."""
        return "adapter", save_adapter(trainer.model, out / "adapter", base)


def train(
    recipe: Recipe, dataset: Path, out: Path, base: Path, adapter: Path | None = None, tell: Tell = print
) -> Trained:
    """Train on preferences; writes `out`/adapter. `adapter` is a PEFT folder to go on from.

    Raises:
        TrainingError: as `carry_out`.
        WrongReference: before the first step the adapter differs from its reference.
    """
    return carry_out(Dpo(), recipe, dataset, out, base, adapter, tell)


def dpo_arguments(recipe: Recipe, out: Path) -> DPOConfig:
    """The recipe in TRL's words."""
    t = recipe.train
    return DPOConfig(
        **arguments(recipe, out),
        beta=t.beta,
        # `sigmoid` pays no attention to it in TRL; `robust` without it is `sigmoid`.
        loss_type=["robust" if t.label_smoothing else "sigmoid", "sft"],
        loss_weights=[1.0, t.sft_weight],
        label_smoothing=t.label_smoothing,
        max_length=t.max_tokens,
    )


def check_reference(trainer: Any) -> None:
    """Before the first step the adapter is its reference, so rewards are zero. WrongReference where not."""
    rows: Any = trainer.train_dataset
    few = rows.select(range(min(len(rows), 2 * trainer.args.train_batch_size)))
    found = trainer.evaluate(eval_dataset=few)
    trainer.state.log_history.clear()
    rewards = {name: found.get(f"eval_rewards/{name}", 0.0) for name in ("chosen", "rejected", "margins")}
    if any(abs(value) > NOISE for value in rewards.values()):
        raise WrongReference(
            f"before the first step rewards are {rewards} and not zero: the adapter is compared with "
            "something that it did not begin as. Train a new adapter, or go on from a PEFT folder."
        )


def examine(trainer: Any, held: Used) -> dict[str, Any]:
    """Held-out pairs under the trainer's own model."""
    if not isinstance(held, Pairs) or not held.texts:
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
