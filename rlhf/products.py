"""What a training gives, by kind, and what is done with it. Free of torch."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from re import sub
from typing import Any

ADAPTER = "adapter"


@dataclass(frozen=True)
class Product:
    """One kind. `use` has the places `{name}`, `{version}`, `{folder}` and `{base}`."""

    called: str
    use: str


PRODUCTS = {
    ADAPTER: Product("an adapter", "loopyard models deploy {name} {version}"),
    "model": Product("a whole model", "loopyard up --model {folder}"),
    "reward": Product(
        "a reward model",
        'python: rlhf.reward.RewardModel(Path("{folder}"), Path("{base}")).score(row, answer)',
    ),
    "encoder": Product(
        "an encoder", 'python: sentence_transformers.SentenceTransformer("{folder}").encode(texts)'
    ),
    "classifier": Product(
        "a classifier of intents", 'python: rlhf.classifier.Classifier(Path("{folder}")).classify(texts)'
    ),
}
"""By what `Trained.result` calls it."""


def product_of(recipe: Mapping[str, Any]) -> str:
    """The kind that a resolved recipe gives."""
    if recipe.get("tuning") == "full":
        return "model"
    return {"reward": "reward", "embedding": "encoder", "classifier": "classifier"}.get(
        recipe["method"], ADAPTER
    )


def derived_name(dataset: str, method: str) -> str:
    """What a result is called where nobody has named it."""
    return f"{sub('[^A-Za-z0-9]+', '-', dataset).strip('-')[:50] or 'dataset'}-{method}"


def use(kind: str, name: str, version: str, folder: Path, base: str) -> str:
    """What to do with a version, as a command or a line of Python."""
    return PRODUCTS[kind].use.format(name=name, version=version, folder=folder, base=base)


def refusal(kind: str) -> str:
    """Why a kind is not deployed; empty where it can be."""
    if kind == ADAPTER:
        return ""
    called = PRODUCTS[kind].called if kind in PRODUCTS else f"of the kind `{kind}`"
    return f"{called}, and only adapters are deployed into the running model server"
