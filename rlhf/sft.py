"""Supervised fine-tuning on answers, with TRL and PEFT: an adapter, one on a quantised base, all weights."""

import math
from pathlib import Path
from typing import Any

from datasets import Dataset
from transformers import AutoTokenizer
from trl.trainer.sft_config import SFTConfig
from trl.trainer.sft_trainer import SFTTrainer

from rlhf.adapters import load_adapter, lora_config, save_adapter
from rlhf.answers import IGNORED, answers
from rlhf.errors import TrainingError
from rlhf.methods import SftRecipe
from rlhf.pairs import Used
from rlhf.quantised import load_base, train_in_single
from rlhf.replay import Rehearsing, rehearsal
from rlhf.runs import whole_folder
from rlhf.shapes import SftRow, read_shape
from rlhf.training import Tell, Trained, arguments, carry_out
from rlhf.weights import Batch, Weighing, unweighed, weighed


class Trainer(Rehearsing, Weighing, SFTTrainer):
    """TRL's, without the message to its makers."""

    def _send_telemetry(self) -> None:
        """Nothing leaves the machine."""

    def share(
        self, whole: Batch, part: Batch, rows: float, given: tuple[Any, ...], named: dict[str, Any]
    ) -> Any:
        """The mean is over tokens: those of all batches of a step where the trainer says how many."""
        if named.get("num_items_in_batch") is not None or given[1:]:
            return 1.0
        tokens, all_tokens = ((batch["labels"][:, 1:] != IGNORED).sum() for batch in (part, whole))
        return tokens / all_tokens.clamp(min=1)


class Sft:
    """What supervised fine-tuning does of its own."""

    name = "sft"
    logged = ("rehearsal", "mean_token_accuracy", "entropy")
    depends = ("method", "seed", "device", "threads", "quantisation", "tuning", "lora", "train", "replay")

    def read(self, file: Path, tokenizer: Any, recipe: SftRecipe) -> Used:
        """Tokens and labels."""
        rows = [row.plain() for row in read_shape(file, SftRow)]
        return answers(rows, tokenizer, recipe.train.max_tokens)

    def prepare(
        self, recipe: SftRecipe, used: Used, held: Used, out: Path, base: Path, adapter: Path | None
    ) -> Trainer:
        """The base with an adapter, or as it is."""
        model = load_base(base, recipe)
        if adapter is not None and recipe.tuning == "full":
            raise TrainingError("`tuning: full` changes the base itself: it cannot go on from an adapter")
        if adapter is not None:
            model = load_adapter(model, adapter, trainable=True)
        tokenizer = AutoTokenizer.from_pretrained(base, local_files_only=True)
        new = recipe.tuning != "full" and adapter is None
        made = Trainer(
            model=model,
            args=SFTConfig(**arguments(recipe, out), max_length=recipe.train.max_tokens),
            train_dataset=Dataset.from_list(weighed(used)),
            eval_dataset=Dataset.from_list(unweighed(held)) if held.texts else None,
            processing_class=tokenizer,
            peft_config=lora_config(recipe.lora) if new else None,
        )
        made.keep_weights()
        train_in_single(made.model)
        if recipe.tuning != "full":
            made.rehearsal = rehearsal(recipe.replay, tokenizer, recipe.seed, recipe.train.max_tokens)
        return made

    def check(self, trainer: Any) -> None:
        """Nothing to compare with."""

    def examine(self, trainer: Any, held: Used) -> dict[str, Any]:
        """Loss, perplexity and share of tokens right on the held-out answers."""
        if not held.texts:
            return {"rows": 0}
        found = trainer.evaluate()
        return {
            "rows": len(held.texts),
            "loss": found["eval_loss"],
            "perplexity": math.exp(min(found["eval_loss"], 50.0)),
            "token_accuracy": found["eval_mean_token_accuracy"],
        }

    def save(self, trainer: Any, recipe: SftRecipe, out: Path, base: Path) -> tuple[str, str]:
        """A PEFT folder, or a whole model with its tokenizer."""
        if recipe.tuning != "full":
            return "adapter", save_adapter(trainer.model, out / "adapter", base)

        def fill(folder: Path) -> None:
            trainer.model.save_pretrained(folder)
            trainer.processing_class.save_pretrained(folder)

        return "model", whole_folder(out / "model", fill)


def train(
    recipe: SftRecipe, dataset: Path, out: Path, base: Path, adapter: Path | None = None, tell: Tell = print
) -> Trained:
    """Train on answers; writes `out`/adapter or, where all weights are trained, `out`/model.

    Raises:
        TrainingError: as `carry_out`; or a base of few bits where bitsandbytes does not run.
    """
    return carry_out(Sft(), recipe, dataset, out, base, adapter, tell)
