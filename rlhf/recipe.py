"""What a training run is asked to do, as YAML; the resolved recipe is saved beside the result.

`recipes/dpo.yaml` holds every value. A recipe of one's own names what differs from it; null inherits.
"""

import difflib
import hashlib
import json
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from rlhf.errors import RecipeError

RECIPES = Path(__file__).with_name("recipes")
Share = Annotated[float, Field(ge=0, le=1)]
Quantisation = Literal["none", "bfloat16", "int8", "int4", "auto"]
"""How the frozen base is held; `auto` takes fewer bits where it has to (`fit.py`)."""


class Part(BaseModel):
    """A block of a recipe."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class Lora(Part):
    """The adapter's size and place."""

    layers: Literal["all", "attention"]
    """Every linear layer but the head, or those of attention alone."""
    rank: int = Field(ge=1, le=512)
    alpha: float = Field(gt=0)
    dropout: Share
    keep: float = Field(default=1.0, gt=0, le=1)
    """Share of a new adapter's change that is kept in the end: a part of the way often keeps all that was
    learnt and loses less of what was there (Wortsman et al., 2022).
    """


class Data(Part):
    """How rows are split before anything else is done with them."""

    held_out: float = Field(gt=0, lt=1)
    """Share of the rows that training never sees."""
    redact_pii: bool
    users_may_cross: bool
    """Rows of one user on both sides: needed where there is one user only."""


class Training(Part):
    """The optimisation, whatever the method."""

    epochs: float = Field(gt=0)
    batch: int = Field(ge=1)
    """Rows that are computed at once."""
    accumulate: int = Field(ge=1)
    """Batches a step."""
    learning_rate: float = Field(gt=0)
    schedule: Literal["linear", "cosine", "constant_with_warmup"]
    """How the rate falls."""
    warm_up: Share
    """Share of the steps."""
    precision: Literal["float32", "bfloat16", "float16", "auto"]
    """bfloat16 and float16 (GPUs only) are mixed: what is trained stays single. `auto` chooses it, gradient
    checkpointing and how a batch is divided, to fit the memory that is free.
    """
    gradient_checkpointing: bool
    """Less memory, a third more time. With `precision: auto` false lets it be chosen."""
    max_tokens: int = Field(ge=16)
    """Of prompt and answer together; longer rows are left out."""
    save_steps: int = Field(ge=1)


class Train(Training):
    """The optimisation of DPO."""

    beta: float = Field(gt=0)
    """How closely the adapter keeps to its reference (Rafailov et al., 2023)."""
    sft_weight: float = Field(ge=0)
    """Weight of the chosen answer's likelihood, in nats a token, beside the preference."""
    label_smoothing: float = Field(ge=0, lt=0.5)
    """Share of labels that are wrong; above zero the loss is unbiased under it (Chowdhury et al., 2024)."""


class Replay(Part):
    """Other work that is rehearsed beside every batch, so that it is not forgotten."""

    rows: str
    """`starter` (calls and talk made on the spot), `none`, or a file of rows as SFT reads them."""
    count: int = Field(ge=1)
    """Rows that `starter` makes."""
    batch: int = Field(ge=1)
    """Rows beside each step."""
    weight: float = Field(ge=0)
    """Of the divergence from the base, in nats a token, beside the loss."""


class Evaluate(Part):
    """How base and adapter are compared."""

    judge: Literal["cite_first", "like_chosen", "people", "model", "reward"]
    judge_model: str
    """Of the judge `model`: a model's id in the server. Of `reward`: a run of `train reward`; without one,
    `retrain` trains it on a part of the rows that the adapter then does not learn from.
    """
    judge_share: float = Field(gt=0, lt=1)
    """That part."""
    judged: str
    """Of the judge `people`: a file of preference rows, once the answers are judged."""
    regression: str
    """A regression set of your own, JSON lines (`regression.py`)."""
    temperature: float = Field(ge=0, le=2)
    max_tokens: int = Field(ge=1)
    prompts: int = Field(ge=1)
    cases: int = Field(ge=0)
    seed: int = Field(ge=0)
    """Draws the cases: another one gives cases that nobody has looked at."""
    likelihood: int = Field(ge=0)
    """Answers whose likelihood is measured, and as many of other work; none: 0."""
    likelihood_tokens: int = Field(ge=16)
    """Of prompt and answer together; longer ones are left out."""
    in_flight: int = Field(ge=1, le=64)


class Gate(Part):
    """What an adapter must show to be promoted."""

    minimum: int = Field(ge=1)
    confidence: float = Field(gt=0.5, lt=1)
    tool_calls: Share
    suites: Share
    kl: float = Field(ge=0)
    perplexity: float = Field(gt=0)
    length: tuple[float, float]
    reward_accuracy: Share
    chosen_loss: float
    keeps: Share | None


class Deploy(Part):
    """What the server must show before an adapter is promoted."""

    parity: Share
    """Positions at which server and PEFT choose the same token."""
    quantised: dict[Literal["q8_0", "q4_k_m", "int8", "int4", "gguf"], Share]
    """The same where the server's weights are not as they were trained; `gguf` is a file of unknown ones."""
    prompts: int = Field(ge=1)
    tokens: int | None = Field(ge=1)
    """Last positions of an answer that are compared, all where there is no number."""

    def floor(self, weights: str) -> float:
        """The share that is wanted of a server with such weights."""
        return next((share for kind, share in self.quantised.items() if kind == weights), self.parity)


class Common(Part):
    """What every recipe has."""

    method: str
    seed: int = Field(ge=0)
    device: Literal["cpu", "cuda"]
    threads: int | None = Field(ge=1)

    def digest(self, *parts: str) -> str:
        """SHA-256 over the named blocks (all by default): what a step depends on."""
        content = self.model_dump(mode="json", include=set(parts) if parts else None)
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    def save(self, path: Path, why: str = "") -> None:
        """Write the resolved recipe as YAML, with the reason for what was chosen as a comment."""
        said = "".join(f"# {line}\n" for line in why.splitlines())
        content = yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False)
        path.write_text(said + content, encoding="utf-8")


class Trainable(Common):
    """What is trained step by step."""

    processes: int = Field(default=1, ge=1, le=64)
    """That compute together, one a GPU, each `train.batch` rows at once."""
    tracking: tuple[Literal["local", "wandb"], ...] = ("local",)
    """Who is told the curves: the run's own folder always, W&B where it is named (`tracking.py`)."""
    train: Training

    @model_validator(mode="after")
    def _computable(self) -> Self:
        if self.train.precision == "float16" and self.device == "cpu":
            raise ValueError("`precision: float16` needs a GPU: use bfloat16, float32 or auto")
        return self


class Recipe(Trainable):
    """A whole recipe of DPO, from the rows to the server."""

    method: Literal["dpo"]
    data: Data
    quantisation: Quantisation = "none"
    lora: Lora
    train: Train
    replay: Replay
    evaluate: Evaluate
    gate: Gate
    deploy: Deploy


Made = TypeVar("Made", bound=Common)


def load_recipe(path: Path | None = None, **changes: Any) -> Recipe:
    """Read a recipe of DPO over `recipes/dpo.yaml`; `changes` are written over both (`train={"epochs": 1}`).

    Raises:
        RecipeError: a file that cannot be read, a key that does not exist (names the nearest one), a
            value that makes no sense.
    """
    return resolved(Recipe, "dpo", path, changes)


def resolved(model: type[Made], method: str, path: Path | None, changes: dict[str, Any]) -> Made:
    """The method's own recipe, the file over it, the changes over both. RecipeError as `load_recipe`."""
    content = read_yaml(RECIPES / f"{method}.yaml")
    if path is not None:
        content = _over(content, read_yaml(path))
    content = _over(content, changes)
    try:
        return model.model_validate(content)
    except ValidationError as error:
        faults = "; ".join(_said(model, one) for one in error.errors())
        raise RecipeError(f"{path or method}: {faults}") from error


def read_yaml(path: Path) -> dict[str, Any]:
    """A mapping of keys to values. RecipeError where it is none."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (OSError, yaml.YAMLError) as error:
        raise RecipeError(f"the recipe {path} cannot be read: {error}") from error
    if not isinstance(content, dict):
        raise RecipeError(f"{path} is not a mapping of keys to values")
    return content


def _over(under: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """`over` on top; None inherits."""
    merged = dict(under)
    for key, value in over.items():
        if isinstance(value, dict) and isinstance(under.get(key), dict):
            merged[key] = _over(under[key], value)
        elif value is not None or key not in under:
            merged[key] = value
    return merged


def _said(recipe: type[Common], error: Any) -> str:
    """One finding, with the near key where one is unknown."""
    place = ".".join(str(part) for part in error["loc"])
    if error["type"] == "value_error":
        return str(error["msg"]).removeprefix("Value error, ")
    if error["type"] != "extra_forbidden":
        return f"{place} is {error['input']!r}: {error['msg']}"
    model: Any = recipe
    for part in error["loc"][:-1]:
        model = model.model_fields[part].annotation
    near = difflib.get_close_matches(str(error["loc"][-1]), model.model_fields, 1, 0.4)
    known = f"did you mean {near[0]}?" if near else f"known are {', '.join(model.model_fields)}"
    return f"{place} is no key of a recipe; {known}"
