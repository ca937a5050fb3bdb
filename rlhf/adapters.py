"""LoRA adapters as PEFT folders: made, loaded, saved with the same bytes for the same weights."""

import json
import shutil
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel
from transformers import AutoModelForCausalLM

from rlhf.recipe import Lora
from rlhf.registry import BASE_KEY, CONFIG, content_digest, weights_of
from rlhf.troubles import hushed

ATTENTION = ("q_proj", "k_proj", "v_proj", "o_proj")
"""Layers of attention as most models name them."""


def causal(base: Path) -> Any:
    """A base that writes text, in single precision."""
    return AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32, local_files_only=True)


def lora_config(lora: Lora, task: str = "CAUSAL_LM", **more: Any) -> LoraConfig:
    """The recipe's block in PEFT's words."""
    return LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,  # type: ignore[arg-type]  # a float is right, PEFT says int
        lora_dropout=lora.dropout,
        target_modules=list(ATTENTION) if lora.layers == "attention" else "all-linear",
        task_type=task,
        **more,
    )


@hushed()
def load_adapter(model: Any, folder: Path, trainable: bool = False) -> Any:
    """A base with a PEFT folder on it; our own key is not PEFT's and is taken off first."""
    content = json.loads((folder / CONFIG).read_text())
    content.pop(BASE_KEY, None)
    # A name that is no folder would be looked up on the hub.
    content |= {"base_model_name_or_path": model.name_or_path, "inference_mode": not trainable}
    config = LoraConfig(**content)
    return PeftModel.from_pretrained(model, str(folder), is_trainable=trainable, config=config)


def keep_share(model: Any, share: float) -> None:
    """Go back from what was learnt towards the base, by scaling the adapter's change."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B.default" in name:
                parameter.mul_(share)


def save_adapter(model: Any, folder: Path, base: Path) -> str:
    """Write a PEFT folder, whole or not at all, the same bytes for the same weights; its content's hash."""
    part = folder.with_name(f"{folder.name}.partial")
    shutil.rmtree(part, ignore_errors=True)
    model.save_pretrained(str(part), selected_adapters=["default"], save_embedding_layers=False)
    (part / "README.md").unlink(missing_ok=True)
    config = json.loads((part / CONFIG).read_text())
    config["target_modules"] = sorted(config["target_modules"])
    config["base_model_name_or_path"] = base.name
    if weights := weights_of(base):
        config[BASE_KEY] = weights
    (part / CONFIG).write_text(json.dumps(config, indent=1, sort_keys=True) + "\n")
    shutil.rmtree(folder, ignore_errors=True)
    part.rename(folder)
    return content_digest(folder)
