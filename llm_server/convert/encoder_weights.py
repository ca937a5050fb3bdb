"""Encoders of BERT's shape (Devlin et al., 2019) out of transformers folders."""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import safe_open

from llm_server.errors import PreparationFailed

Array = NDArray[np.float32]
ACTIVATIONS = ("gelu", "gelu_new", "gelu_pytorch_tanh", "relu")
BERT = {
    "words": "embeddings.word_embeddings.weight",
    "positions": "embeddings.position_embeddings.weight",
    "types": "embeddings.token_type_embeddings.weight",
    "norm": "embeddings.LayerNorm",
    "layer": "encoder.layer.",
    "query": "attention.self.query",
    "key": "attention.self.key",
    "value": "attention.self.value",
    "mixed": "attention.output.dense",
    "attention_norm": "attention.output.LayerNorm",
    "up": "intermediate.dense",
    "down": "output.dense",
    "output_norm": "output.LayerNorm",
}
DISTILBERT = BERT | {
    "types": "",
    "layer": "transformer.layer.",
    "query": "attention.q_lin",
    "key": "attention.k_lin",
    "value": "attention.v_lin",
    "mixed": "attention.out_lin",
    "attention_norm": "sa_layer_norm",
    "up": "ffn.lin1",
    "down": "ffn.lin2",
    "output_norm": "output_layer_norm",
}


@dataclass(frozen=True, slots=True)
class Family:
    """Names of one family's parts."""

    prefix: str
    names: dict[str, str]
    head: tuple[str, str]
    """The two linear layers of a classifier."""
    head_activation: str


FAMILIES = {
    "bert": Family("bert.", BERT, ("bert.pooler.dense", "classifier"), "tanh"),
    "roberta": Family("roberta.", BERT, ("classifier.dense", "classifier.out_proj"), "tanh"),
    "xlm-roberta": Family("roberta.", BERT, ("classifier.dense", "classifier.out_proj"), "tanh"),
    "camembert": Family("roberta.", BERT, ("classifier.dense", "classifier.out_proj"), "tanh"),
    "distilbert": Family("distilbert.", DISTILBERT, ("pre_classifier", "classifier"), "relu"),
}
"""Those of the RoBERTa kind number positions from the padding token's id + 1."""


@dataclass(frozen=True, slots=True)
class Linear:
    """A weight [in, out] with its bias, or the two vectors of a norm."""

    weight: Array
    bias: Array


@dataclass(frozen=True, slots=True)
class Layer:
    """One of the stack."""

    attention: Linear
    """Queries, keys and values side by side; queries are scaled."""
    mixed: Linear
    attention_norm: Linear
    up: Linear
    down: Linear
    output_norm: Linear


@dataclass(frozen=True, slots=True)
class Encoder:
    """All that a graph is made of."""

    words: Array
    """[vocabulary, width]."""
    positions: Array
    """[positions, width]; the row of token type 0 is added where there is no other."""
    types: Array | None
    norm: Linear
    layers: list[Layer]
    heads: int
    epsilon: float
    activation: str
    classifier: tuple[Linear, str, Linear] | None
    """Two linear layers and what is between them."""


def read_encoder(folder: Path, *, classifies: bool) -> Encoder:
    """PreparationFailed for a model of no known family, or without a classifier where one is wanted."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    kind = str(config.get("model_type"))
    family = FAMILIES.get(kind)
    activation = str(config.get("hidden_act", config.get("activation", "gelu")))
    if family is None or activation not in ACTIVATIONS:
        raise PreparationFailed(
            f"{folder.name} is a {kind} with {activation}; encoders can be {', '.join(FAMILIES)} with "
            f"{', '.join(ACTIVATIONS)}."
        )
    if config.get("position_embedding_type", "absolute") != "absolute" or config.get("is_decoder"):
        raise PreparationFailed(f"{folder.name} is not a plain encoder with absolute positions.")
    return _read(_Tensors(folder, family), family, config, activation, classifies=classifies)


def _read(
    tensors: "_Tensors", family: Family, config: dict[str, Any], activation: str, *, classifies: bool
) -> Encoder:
    names = family.names
    positions = tensors.one(names["positions"])
    if family.prefix == "roberta.":
        positions = positions[int(config.get("pad_token_id", 1)) + 1 :]
    types = tensors.one(names["types"]) if names["types"] else None
    if types is not None and len(types) == 1:
        positions, types = positions + types[0], None
    count = int(config.get("num_hidden_layers", config.get("n_layers", 0)))
    heads = int(config.get("num_attention_heads", config.get("n_heads", 0)))
    return Encoder(
        tensors.one(names["words"]),
        positions,
        types,
        tensors.norm(names["norm"]),
        [_layer(tensors, names, f"{names['layer']}{i}.", heads) for i in range(count)],
        heads,
        float(config.get("layer_norm_eps", 1e-12)),
        activation,
        _classifier(tensors, family) if classifies else None,
    )


def _layer(tensors: "_Tensors", names: dict[str, str], at: str, heads: int) -> Layer:
    query, key, value = (tensors.linear(at + names[part]) for part in ("query", "key", "value"))
    scale = np.float32(1 / math.sqrt(query.weight.shape[1] // heads))
    attention = Linear(
        np.concatenate([query.weight * scale, key.weight, value.weight], axis=1),
        np.concatenate([query.bias * scale, key.bias, value.bias]),
    )
    mixed, up, down = (tensors.linear(at + names[part]) for part in ("mixed", "up", "down"))
    first, last = (tensors.norm(at + names[part]) for part in ("attention_norm", "output_norm"))
    return Layer(attention, mixed, first, up, down, last)


def _classifier(tensors: "_Tensors", family: Family) -> tuple[Linear, str, Linear]:
    first, last = (tensors.linear(name, anywhere=True) for name in family.head)
    return first, family.head_activation, last


class _Tensors:
    """Those of a folder, by the names of the bare encoder. In 32 bits."""

    def __init__(self, folder: Path, family: Family) -> None:
        self._folder, self._prefix = folder, family.prefix
        self._places: dict[str, Path] = {}
        for path in sorted(folder.glob("*.safetensors")):
            with safe_open(path, framework="pt") as file:
                self._places |= dict.fromkeys(file.keys(), path)

    def one(self, name: str, *, anywhere: bool = False) -> Array:
        """A tensor; PreparationFailed where it is missing."""
        full = name if anywhere or name in self._places else self._prefix + name
        # Files of 2018 call the vectors of a norm by other names.
        old = full.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta")
        found = next((spelt for spelt in (full, old) if spelt in self._places), None)
        if found is None:
            raise PreparationFailed(f"{self._folder.name} has no tensor {full}.")
        # Through torch: numpy has no bfloat16.
        with safe_open(self._places[found], framework="pt") as file:
            return np.asarray(file.get_tensor(found).float().numpy(), np.float32)

    def linear(self, name: str, *, anywhere: bool = False) -> Linear:
        """transformers keeps [out, in]."""
        weight = self.one(f"{name}.weight", anywhere=anywhere)
        return Linear(np.ascontiguousarray(weight.T), self.one(f"{name}.bias", anywhere=anywhere))

    def norm(self, name: str) -> Linear:
        """Scale and shift."""
        return Linear(self.one(f"{name}.weight"), self.one(f"{name}.bias"))
