"""The frozen base as a recipe holds it: single precision, two bytes, or in eight or four bits (bitsandbytes).

QLoRA (Dettmers et al., 2023) trains an adapter on a base of four bits, on a GPU and, slower, on a processor.
"""

from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from peft import prepare_model_for_kbit_training
from transformers import AutoModelForCausalLM, BitsAndBytesConfig

from rlhf.errors import TrainingError
from rlhf.recipe import Trainable

WHOLE = ["lm_head", "score"]
"""Heads stay as they are: a new one is trained, and from that of a language model answers are read."""


def held(recipe: Trainable) -> str:
    """`none`, `bfloat16`, `int8`, `int4` or `auto`: as the recipe says, `tuning: qlora` being four bits."""
    if getattr(recipe, "tuning", "") == "qlora":
        return "int4"
    return str(getattr(recipe, "quantisation", "none"))


AT_ONCE = "support_avx512bf16_for_cpu"
"""bitsandbytes packs four bits anew for inference at the first evaluation, and leaves them so: a training
that follows would learn nothing through such a layer, without a word.
"""


def load_base(base: Path, recipe: Trainable, kind: Any = AutoModelForCausalLM, **more: Any) -> Any:
    """The base as the recipe holds it. TrainingError where bitsandbytes is needed and is not there.

    Args:
        kind: transformers' class, such as one with a head of numbers.
    """
    how, on_gpu = held(recipe), recipe.device == "cuda"
    if how not in ("int8", "int4"):
        dtype = torch.bfloat16 if how == "bfloat16" else torch.float32
        return kind.from_pretrained(base, dtype=dtype, local_files_only=True, **more)
    _require_bitsandbytes(how)
    # Many processors compute in bfloat16 far slower than in single precision.
    dtype = torch.bfloat16 if on_gpu and torch.cuda.is_bf16_supported() else torch.float32
    model = kind.from_pretrained(
        base,
        quantization_config=_config(how, dtype),
        device_map={"": 0 if on_gpu else "cpu"},
        dtype=dtype,
        local_files_only=True,
        **more,
    )
    for layer in model.modules():
        if hasattr(layer, AT_ONCE):
            setattr(layer, AT_ONCE, False)
    return prepare_model_for_kbit_training(  # type: ignore[no-untyped-call]  # PEFT's own
        model, use_gradient_checkpointing=recipe.train.gradient_checkpointing is True
    )


def train_in_single(model: Any) -> None:
    """What is trained on a base of few bits computes in single precision: TRL has cast it to two bytes, in
    which small steps are lost and a head of numbers does not fit what comes before it.
    """
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.to(torch.float32)
    for name, layer in model.named_modules():
        # PEFT casts what comes into its own layers, and not what comes into a new head.
        if "modules_to_save" in name and isinstance(layer, torch.nn.Linear):
            layer.register_forward_pre_hook(lambda head, given: (given[0].to(head.weight.dtype), *given[1:]))


def _config(how: str, dtype: torch.dtype) -> Any:
    if how == "int8":
        return BitsAndBytesConfig(load_in_8bit=True, llm_int8_skip_modules=WHOLE)  # type: ignore[no-untyped-call]  # as below
    return BitsAndBytesConfig(  # type: ignore[no-untyped-call]  # transformers' own
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=dtype,
        llm_int8_skip_modules=WHOLE,
    )


def _require_bitsandbytes(how: str) -> None:
    try:
        import_module("bitsandbytes")
    except ImportError as error:
        raise TrainingError(
            f"a base in {how} (`quantisation: {how}` or `tuning: qlora`) needs bitsandbytes, which is not "
            "installed here: `python -m pip install bitsandbytes`, or `tuning: lora` and `quantisation: none`"
        ) from error
