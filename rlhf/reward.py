"""A reward model from preferences (Bradley and Terry, 1952; Ouyang et al., 2022), with TRL and PEFT.

The base with a head of one number and an adapter: the larger the number, the better the answer.
"""

import json
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from peft import LoraConfig, PeftModel
from transformers import AutoModelForSequenceClassification, AutoTokenizer
from trl.trainer.reward_config import RewardConfig
from trl.trainer.reward_trainer import RewardTrainer

from rlhf.adapters import lora_config, save_adapter
from rlhf.judge import RuleJudge
from rlhf.methods import RewardRecipe
from rlhf.pairs import Pairs, Row, Used, completed, render
from rlhf.quantised import load_base, train_in_single
from rlhf.records import read_jsonl
from rlhf.registry import BASE_KEY, CONFIG, folder_digest
from rlhf.training import Tell, Trained, arguments, carry_out
from rlhf.troubles import hushed
from rlhf.weights import WEIGHT, Weighing, unweighed, weighed


class Trainer(Weighing, RewardTrainer):
    """TRL's, without the message to its makers."""

    def _send_telemetry(self) -> None:
        """Nothing leaves the machine."""

    def part(self, name: str, value: Any, rows: list[int], count: int) -> Any:
        """The batch has all chosen answers, then all rejected ones."""
        return value[[*rows, *(count + row for row in rows)]]


class Reward:
    """What a reward model does of its own."""

    name = "reward"
    logged = ("margin", "accuracy", "mean_reward")
    depends = ("method", "seed", "device", "threads", "quantisation", "lora", "train")

    def read(self, file: Path, tokenizer: Any, recipe: RewardRecipe) -> Pairs:
        """Tokens of both conversations."""
        pairs = render([row.plain() for row in read_jsonl(file)], tokenizer, recipe.train.max_tokens)
        pairs.texts = [{**_both(tokenizer, text), WEIGHT: text[WEIGHT]} for text in pairs.texts]
        return pairs

    def prepare(
        self, recipe: RewardRecipe, used: Used, held: Used, out: Path, base: Path, adapter: Path | None
    ) -> Trainer:
        """A new head and a new adapter, or those to go on from."""
        model = load_base(base, recipe, AutoModelForSequenceClassification, num_labels=1)
        if adapter is not None:
            model = with_adapter(model, adapter, trainable=True)
        made = Trainer(
            model=model,
            args=RewardConfig(
                **arguments(recipe, out),
                max_length=recipe.train.max_tokens,
                center_rewards_coefficient=recipe.train.centre or None,
            ),
            train_dataset=Dataset.from_list(weighed(used)),
            eval_dataset=Dataset.from_list(unweighed(held)) if held.texts else None,
            processing_class=AutoTokenizer.from_pretrained(base, local_files_only=True),
            peft_config=lora_config(recipe.lora, "SEQ_CLS") if adapter is None else None,
        )
        made.keep_weights()
        train_in_single(made.model)
        return made

    def check(self, trainer: Any) -> None:
        """Nothing to compare with."""

    def examine(self, trainer: Any, held: Used) -> dict[str, Any]:
        """Held-out pairs: the share that is ordered rightly, and by how much."""
        if not held.texts:
            return {"rows": 0}
        found = trainer.evaluate()
        return {
            "rows": len(held.texts),
            "reward_accuracy": found["eval_accuracy"],
            "margin": found["eval_margin"],
            "loss": found["eval_loss"],
        }

    def save(self, trainer: Any, recipe: RewardRecipe, out: Path, base: Path) -> tuple[str, str]:
        """A PEFT folder with the head in it."""
        save_adapter(trainer.model, out / "reward", base)
        return "reward", folder_digest(out / "reward")


def train(
    recipe: RewardRecipe,
    dataset: Path,
    out: Path,
    base: Path,
    adapter: Path | None = None,
    tell: Tell = print,
) -> Trained:
    """Train on preferences; writes `out`/reward. TrainingError as `carry_out`."""
    return carry_out(Reward(), recipe, dataset, out, base, adapter, tell)


def _both(tokenizer: Any, text: Row) -> dict[str, list[int]]:
    """Tokens of the conversation with the chosen and with the rejected answer."""
    return {
        f"{side}_ids": tokenizer(text["prompt"] + text[side], add_special_tokens=False)["input_ids"]
        for side in ("chosen", "rejected")
    }


def scoring(base: Path) -> Any:
    """The base with a new head of one number."""
    return AutoModelForSequenceClassification.from_pretrained(
        base, num_labels=1, dtype=torch.float32, local_files_only=True
    )


def with_adapter(model: Any, folder: Path, trainable: bool = False) -> Any:
    """A base with the adapter and head of a folder."""
    content = json.loads((folder / CONFIG).read_text())
    content.pop(BASE_KEY, None)
    # A name that is no folder would be looked up on the hub.
    content |= {"base_model_name_or_path": model.name_or_path, "inference_mode": not trainable}
    return PeftModel.from_pretrained(model, str(folder), is_trainable=trainable, config=LoraConfig(**content))


class RewardModel:
    """A trained reward model, to ask."""

    def __init__(self, folder: Path, base: Path) -> None:
        self.tokenizer = AutoTokenizer.from_pretrained(base, local_files_only=True)
        with hushed():
            self.model = with_adapter(scoring(base), folder).eval()
        self.model.config.pad_token_id = self.tokenizer.pad_token_id

    def score(self, row: Row, answer: str) -> float:
        """How good an answer to the prompt of a row is; only differences mean something."""
        said = {**row, "answer": [{"role": "assistant", "content": answer}]}
        text = completed(self.tokenizer, said, "answer")
        ids = self.tokenizer(text, add_special_tokens=False, return_tensors="pt")
        with torch.no_grad():
            return float(self.model(**ids).logits[0, 0])

    def judge(self) -> RuleJudge:
        """It as a judge of two answers."""
        return RuleJudge("reward", self.score)
