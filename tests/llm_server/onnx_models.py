"""The tiny model for ONNX Runtime, adapters for it, and what transformers and PEFT make of both."""

import json
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray
from safetensors.numpy import save_file

from llm_server.backends.onnx_manifest import Manifest
from llm_server.convert.onnx_folder import prepare_onnx

ATTENTION = ("self_attn.q_proj", "self_attn.v_proj")
EVERYTHING = (
    *ATTENTION,
    "self_attn.k_proj",
    "self_attn.o_proj",
    "mlp.gate_proj",
    "mlp.up_proj",
    "mlp.down_proj",
)


def prepared(models: Path, precision: str) -> Path:
    """The converted folder, once a test run."""
    with FileLock(models / "lock"):
        return prepare_onnx(models / "tiny", "tiny", models, precision)


def make_peft(
    folder: Path,
    manifest: Manifest,
    *,
    rank: int = 4,
    modules: Sequence[str] = ATTENTION,
    seed: int = 0,
    **changes: Any,
) -> Path:
    """A PEFT folder with random matrices in `modules` of every layer; `changes` go into its configuration."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    tensors: dict[str, NDArray[np.float32]] = {}
    for target, (width, height) in manifest.targets.items():
        if target.endswith(tuple(modules)):
            for side, shape in (("A", (rank, width)), ("B", (height, rank))):
                values = rng.normal(0, 0.1, shape).astype(np.float32)
                tensors[f"base_model.model.{target}.lora_{side}.weight"] = values
    save_file(tensors, folder / "adapter_model.safetensors")
    config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "r": rank,
        "lora_alpha": 16,
        "target_modules": [module.split(".")[1] for module in modules],
        "bias": "none",
        **changes,
    }
    (folder / "adapter_config.json").write_text(json.dumps(config))
    return folder


class Reference:
    """transformers' logits for a prompt, in 32 bits, with adapters or without."""

    def __init__(self, folder: Path, adapters: Mapping[str, Path]) -> None:
        with warnings.catch_warnings():
            # Deprecations inside these libraries are not ours.
            warnings.simplefilter("ignore")
            import torch
            from peft import PeftModel
            from transformers import AutoModelForCausalLM

            torch.set_num_threads(1)
            self._torch = torch
            base: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
            self._base = base.eval()
            self._model: Any = None
            for name, path in adapters.items():
                if self._model is None:
                    self._model = PeftModel.from_pretrained(base, path, adapter_name=name).eval()
                else:
                    self._model.load_adapter(path, name)

    def __call__(self, tokens: Sequence[int], *adapters: str) -> NDArray[np.float32]:
        """After the last token."""
        last: NDArray[np.float32] = self.every(tokens, *adapters)[-1]
        return last

    def every(self, tokens: Sequence[int], *adapters: str) -> NDArray[np.float32]:
        """After every token, [tokens, vocabulary]."""
        ids = self._torch.tensor([list(tokens)])
        with self._torch.no_grad():
            if not adapters:
                if self._model is None:
                    return np.asarray(self._base(ids).logits[0])
                with self._model.disable_adapter():
                    return np.asarray(self._model(ids).logits[0])
            self._model.base_model.set_adapter(list(adapters))
            return np.asarray(self._model(ids).logits[0])
