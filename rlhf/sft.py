"""Supervised fine-tuning on answers, with TRL and PEFT: an adapter, one on a quantised base, all weights.

QLoRA (Dettmers et al., 2023) holds the base in four bits, which bitsandbytes does on a GPU and, slower, on a
processor.
"""

import math
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from peft import prepare_model_for_kbit_training
from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig
from trl.trainer.sft_config import SFTConfig
from trl.trainer.sft_trainer import SFTTrainer

from rlhf.adapters import causal, load_adapter, lora_config, save_adapter
from rlhf.answers import IGNORED, answers
from rlhf.errors import TrainingError
from rlhf.methods import SftRecipe
from rlhf.pairs import Used
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
    depends = ("method", "seed", "device", "threads", "tuning", "lora", "train", "replay")

    def read(self, file: Path, tokenizer: Any, recipe: SftRecipe) -> Used:
        """Tokens and labels."""
        rows = [row.plain() for row in read_shape(file, SftRow)]
        return answers(rows, tokenizer, recipe.train.max_tokens)

    def prepare(
        self, recipe: SftRecipe, used: Used, held: Used, out: Path, base: Path, adapter: Path | None
    ) -> Trainer:
        """The base with an adapter, or as it is."""
        model = quantised(base, recipe) if recipe.tuning == "qlora" else causal(base)
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
        TrainingError: as `carry_out`; or `qlora` where bitsandbytes does not run.
    """
    return carry_out(Sft(), recipe, dataset, out, base, adapter, tell)


def quantised(base: Path, recipe: SftRecipe) -> Any:
    """The base in four bits. TrainingError where that cannot be."""
    try:
        import_module("bitsandbytes")
    except ImportError as error:
        raise TrainingError(
            "`tuning: qlora` needs bitsandbytes, which is not installed here: `python -m pip install "
            "bitsandbytes`, or `tuning: lora`"
        ) from error
    on_gpu = recipe.device == "cuda"
    config = BitsAndBytesConfig(  # type: ignore[no-untyped-call]  # transformers' own
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        # Many processors compute in bfloat16 far slower than in single precision.
        bnb_4bit_compute_dtype=torch.bfloat16 if on_gpu else torch.float32,
    )
    model = AutoModelForCausalLM.from_pretrained(
        base,
        quantization_config=config,
        device_map={"": 0 if on_gpu else "cpu"},
        dtype=torch.bfloat16 if on_gpu else torch.float32,
        local_files_only=True,
    )
    return prepare_model_for_kbit_training(  # type: ignore[no-untyped-call]  # PEFT's own
        model, use_gradient_checkpointing=recipe.train.gradient_checkpointing
    )
