"""How much memory a training will take, before it begins: counted on the model without its weights.

The base is built from its config alone, with the adapter on it; one forward pass of tensors that have shapes
and no content tells exactly what autograd keeps for the way back, in the recipe's own precision.
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from peft import get_peft_model
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from transformers import AutoConfig, AutoModel, AutoModelForCausalLM, AutoModelForSequenceClassification

from rlhf.adapters import lora_config
from rlhf.loads import Load
from rlhf.quantised import WHOLE, held
from rlhf.recipe import Trainable
from rlhf.troubles import hushed

SINGLE, TWO = 4, 2
BITS = {"int8": 1.0, "int4": 0.52}
"""Bytes a weight: nf4 with its scales quantised too (Dettmers et al., 2023, section 3)."""
BESIDE = {"cpu": 64 * 2**20, "cuda": 512 * 2**20}
"""What the libraries take beside tensors: workspaces, fragments."""
SCORED = ("sft", "dpo", "kto")
"""Methods that read likelihoods off the vocabulary."""
TILE, SCORED_COPIES = (4096, 32768), 8.5
"""Tokens and words of which TRL computes scores at once, and how many copies of them stand (measured)."""
COMPARED = 6
"""The same of the distributions that a rehearsal compares."""
HEADS = {"reward": AutoModelForSequenceClassification, "embedding": AutoModel}
CPU = torch.device("cpu")
HALF = {"bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True)
class Need:
    """Bytes at the peak of a step."""

    weights: int
    gradients: int
    optimizer: int
    reference: int
    """What the model is compared with: nothing where that is the base with the adapter off."""
    activations: int
    beside: int

    @property
    def total(self) -> int:
        """All of it."""
        return sum(asdict(self).values())

    def __str__(self) -> str:
        parts = ", ".join(f"{name} {size(amount)}" for name, amount in asdict(self).items() if amount)
        return f"{size(self.total)} ({parts})"


def size(amount: int) -> str:
    """Bytes for people."""
    return f"{amount / 2**30:.2f} GiB" if amount >= 2**30 else f"{amount / 2**20:.0f} MiB"


class Estimate:
    """What recipes of one method need on one base; the model is counted once a precision."""

    def __init__(self, base: Path, load: Load) -> None:
        self.base, self.load = base, load
        self._seen: dict[tuple[str, str], tuple[_Counted, int]] = {}

    def need(self, recipe: Trainable) -> Need:
        """Memory of a recipe without anything `auto` in it."""
        how, load = held(recipe), self.load
        counted, kept = self._counted(recipe, how)
        trained = counted.trained
        return Need(
            weights=int(counted.weights(how)) + (0 if counted.all_trained else trained * SINGLE),
            gradients=trained * SINGLE,
            optimizer=2 * trained * SINGLE,
            reference=trained * SINGLE if load.goes_on and recipe.method in ("dpo", "kto") else 0,
            activations=int(_activations(recipe, load, counted, kept, how)),
            beside=BESIDE[recipe.device],
        )

    def _counted(self, recipe: Trainable, how: str) -> "tuple[_Counted, int]":
        key = (how, str(recipe.train.precision))
        if key not in self._seen:
            with hushed():
                model = _without_weights(recipe, self.base, how)
            counted = _Counted(model)
            self._seen[key] = counted, _kept(model, self.load.tokens, key[1])
        return self._seen[key]


def _activations(recipe: Trainable, load: Load, counted: "_Counted", kept: int, how: str) -> float:
    """Bytes at the largest moment: where scores stand over the vocabulary, or where a layer that was not kept
    is computed again beside its gradients.
    """
    own = recipe.train.batch * load.sequences * load.tokens
    tokens, a_token = own + load.rehearsed, kept / load.tokens
    scores: float = load.rehearsed_answer * counted.vocabulary * SINGLE * COMPARED
    if recipe.method in SCORED:
        scores += min(own, TILE[0]) * min(counted.vocabulary, TILE[1]) * SINGLE * SCORED_COPIES
    spelt_out = counted.widest * SINGLE if how in BITS else 0
    if not recipe.train.gradient_checkpointing:
        return a_token * tokens + scores + spelt_out
    borders = counted.layers * counted.hidden * (TWO if how == "bfloat16" else SINGLE) * tokens
    layer = a_token * tokens / counted.layers
    return borders + max(scores, 2 * layer) + spelt_out


class _Counted:
    """What of a model is trained, and what is held how."""

    def __init__(self, model: Any) -> None:
        own = {id(p): p for name, p in model.named_parameters() if not _is_added(name)}
        self.trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
        self.all_trained = all(p.requires_grad for p in model.parameters())
        linear = {
            id(module.weight): module.weight
            for name, module in model.named_modules()
            if isinstance(module, torch.nn.Linear) and not _is_added(name) and not _is_head(name)
        }
        self.base: int = sum(p.numel() for p in own.values())
        self.linear: int = sum(p.numel() for p in linear.values())
        self.widest: int = max((p.numel() for p in linear.values()), default=0)
        self.layers = int(model.config.num_hidden_layers)
        self.hidden = int(model.config.hidden_size)
        self.vocabulary = int(model.config.vocab_size)

    def weights(self, how: str) -> float:
        """Bytes of the base; what bitsandbytes does not hold PEFT casts to single precision."""
        if how in BITS:
            return self.linear * BITS[how] + (self.base - self.linear) * SINGLE
        return self.base * (TWO if how == "bfloat16" else SINGLE)


def _is_added(name: str) -> bool:
    return "lora_" in name or "modules_to_save" in name


def _is_head(name: str) -> bool:
    return any(part in WHOLE for part in name.split("."))


def _without_weights(recipe: Trainable, base: Path, how: str) -> Any:
    """The model as it will be trained, of shapes alone."""
    config = AutoConfig.from_pretrained(base, local_files_only=True)
    lora = getattr(recipe, "lora", None)
    if recipe.method == "reward":
        config.num_labels = 1
    with torch.device("meta"):
        dtype = torch.bfloat16 if how == "bfloat16" else torch.float32
        kind: Any = HEADS.get(recipe.method, AutoModelForCausalLM)
        model = kind.from_config(config, dtype=dtype)
        if lora is None or getattr(recipe, "tuning", "") == "full":
            return model.train()
        task = "SEQ_CLS" if recipe.method == "reward" else "CAUSAL_LM"
        return get_peft_model(model, lora_config(lora, task)).train()


def _kept(model: Any, tokens: int, precision: str) -> int:
    """Bytes that autograd keeps of one sequence for the way back, parameters aside."""
    mode, found = FakeTensorMode(), dict[int, int]()
    _shape(model, mode)
    with mode:
        parameters = {p.untyped_storage()._cdata for p in model.parameters()}

        def keep(tensor: Any) -> Any:
            storage = tensor.untyped_storage()
            if storage._cdata not in parameters:
                found[storage._cdata] = int(storage.nbytes())
            return tensor

        ids = torch.zeros(1, tokens, dtype=torch.long)
        hooks = torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor)
        half = torch.autocast("cpu", HALF.get(precision, torch.bfloat16), enabled=precision in HALF)
        with hooks, half, hushed():
            # What it answers has to live as long as the count: a storage that is freed is counted twice.
            answer = model(input_ids=ids, attention_mask=torch.ones_like(ids))
        total = sum(found.values())
        del answer
    return total


def _shape(model: Any, mode: FakeTensorMode) -> None:
    """Put tensors that pretend to be on the processor in the place of those without a device."""
    made: dict[int, Any] = {}
    for module in model.modules():
        for name, own in module._parameters.items():
            if own is None:
                continue
            if id(own) not in made:  # tied weights stay tied
                like = FakeTensor(mode, own.detach(), CPU)
                made[id(own)] = torch.nn.Parameter(like, requires_grad=own.requires_grad)
            module._parameters[name] = made[id(own)]
        for name, own in module._buffers.items():
            if own is not None:
                module._buffers[name] = FakeTensor(mode, own.to("meta"), CPU)
