"""Kahneman-Tversky optimisation of an adapter (Ethayarajh et al., 2024), with TRL and PEFT: thumbs alone."""

import random
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from transformers import AutoTokenizer
from trl.trainer.kto_config import KTOConfig
from trl.trainer.kto_trainer import KTOTrainer

from rlhf.adapters import load_adapter, lora_config, save_adapter
from rlhf.dpo import check_reference
from rlhf.errors import TrainingError
from rlhf.methods import KtoRecipe
from rlhf.pairs import NOT_A_PREFIX, TOO_LONG, Row, Used, completed, templated, tokens
from rlhf.quantised import load_base, train_in_single
from rlhf.replay import Rehearsing, rehearsal
from rlhf.shapes import KtoRow, read_shape
from rlhf.training import Tell, Trained, arguments, carry_out
from rlhf.weights import WEIGHT, Keeping, unweighed, weighed

ALONE = "alone in the last batch, where the divergence needs two rows"


class Trainer(Rehearsing, Keeping, KTOTrainer):
    """TRL's, without the message to its makers."""

    def _send_telemetry(self) -> None:
        """Nothing leaves the machine."""

    def compute_loss(self, model: Any, inputs: Any, *given: Any, **named: Any) -> Any:
        """TRL's loss, where the weights of both kinds of thumbs are those of each row: neighbours in a batch
        are needed for the divergence, so it is not computed in parts.
        """
        weights = inputs.pop(WEIGHT, None)
        if weights is None:
            return super().compute_loss(model, inputs, *given, **named)
        ups = torch.as_tensor(inputs["label"], dtype=torch.bool, device=weights.device)
        trainer: Any = self
        trainer.desirable_weight = trainer.args.desirable_weight * weights[ups]
        trainer.undesirable_weight = trainer.args.undesirable_weight * weights[~ups]
        return super().compute_loss(model, inputs, *given, **named)


class Kto:
    """What KTO does of its own."""

    name = "kto"
    logged = ("rehearsal", "kl", "rewards/margins", "rewards/chosen", "rewards/rejected", "logps/chosen")
    depends = ("method", "seed", "device", "threads", "quantisation", "lora", "train", "replay")

    def read(self, file: Path, tokenizer: Any, recipe: KtoRecipe) -> Used:
        """Texts with their thumbs, in an order of the seed: TRL pairs neighbours and does not shuffle."""
        rows = [row.plain() for row in read_shape(file, KtoRow)]
        random.Random(recipe.seed).shuffle(rows)
        used = thumbed(rows, tokenizer, recipe.train.max_tokens)
        if len(used.texts) % recipe.train.batch == 1:
            used.leave(ALONE, used.texts.pop()["row_id"])
        return used

    def prepare(
        self, recipe: KtoRecipe, used: Used, held: Used, out: Path, base: Path, adapter: Path | None
    ) -> Trainer:
        """A new adapter on the base, or the one to go on from. TrainingError where all thumbs are alike."""
        thumbs = Counter(bool(text["label"]) for text in used.texts)
        if len(thumbs) < 2:
            up, down = thumbs[True], thumbs[False]
            raise TrainingError(f"KTO needs thumbs up and down: there are {up} up and {down} down")
        ups, downs = (
            sum(text["weight"] for text in used.texts if text["label"] is label) for label in (True, False)
        )
        model = load_base(base, recipe)
        if adapter is not None:
            model = load_adapter(model, adapter, trainable=True)
        tokenizer = AutoTokenizer.from_pretrained(base, local_files_only=True)
        # Equation 8 of the paper, at its lower end: both kinds weigh the same in all.
        most = max(ups, downs)
        weights = (most / ups, most / downs) if recipe.train.balance else (1.0, 1.0)
        made = Trainer(
            model=model,
            args=KTOConfig(
                **arguments(recipe, out),
                beta=recipe.train.beta,
                max_length=recipe.train.max_tokens,
                desirable_weight=weights[0],
                undesirable_weight=weights[1],
            ),
            train_dataset=Dataset.from_list(weighed(used)),
            eval_dataset=Dataset.from_list(unweighed(held)) if held.texts else None,
            processing_class=tokenizer,
            peft_config=None if adapter is not None else lora_config(recipe.lora),
        )
        made.keep_weights()
        train_in_single(made.model)
        made.rehearsal = rehearsal(recipe.replay, tokenizer, recipe.seed, recipe.train.max_tokens)
        return made

    def check(self, trainer: Any) -> None:
        """The reference is what the adapter began as."""
        check_reference(trainer)

    def examine(self, trainer: Any, held: Used) -> dict[str, Any]:
        """Rewards of held-out answers with a thumb up and down."""
        if not held.texts:
            return {"rows": 0}
        found = trainer.evaluate()
        names = {
            "up": "eval_rewards/chosen",
            "down": "eval_rewards/rejected",
            "margin": "eval_rewards/margins",
        }
        return {
            "rows": len(held.texts),
            "loss": found["eval_loss"],
            **{ours: found[theirs] for ours, theirs in names.items() if theirs in found},
        }

    def save(self, trainer: Any, recipe: KtoRecipe, out: Path, base: Path) -> tuple[str, str]:
        """A PEFT folder."""
        return "adapter", save_adapter(trainer.model, out / "adapter", base)


def train(
    recipe: KtoRecipe, dataset: Path, out: Path, base: Path, adapter: Path | None = None, tell: Tell = print
) -> Trained:
    """Train on thumbs; writes `out`/adapter.

    Raises:
        TrainingError: as `carry_out`; or all thumbs are alike.
        WrongReference: before the first step the adapter differs from its reference.
    """
    return carry_out(Kto(), recipe, dataset, out, base, adapter, tell)


def thumbed(rows: Iterable[Row], tokenizer: Any, max_tokens: int) -> Used:
    """`prompt`, `completion`, `label` and `weight` of the rows that fit."""
    used = Used()
    for row in rows:
        head = templated(tokenizer, row["prompt"], row.get("tools"), True)
        whole = completed(tokenizer, row, "completion")
        if not whole.startswith(head):
            used.leave(NOT_A_PREFIX, row["row_id"])
        elif tokens(tokenizer, whole) > max_tokens:
            used.leave(TOO_LONG, row["row_id"])
        else:
            text = {"prompt": head, "completion": whole[len(head) :], "label": row["label"]}
            used.texts.append({**text, "weight": row.get("weight", 1.0), "row_id": row["row_id"]})
    return used
