"""`python -m llm_server.convert.merge BASE ADAPTER TARGET`: a LoRA added to the weights of its base, as a
transformers folder.

PEFT does it (Hu et al., 2021: W + scale B A). A program of its own: it holds the weights more than once, and
torch. What is written is read again, and has to say what the base says with the adapter.
"""

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llm_server.adapters.probe import TEXT, TOKENS, divergence, measure
from llm_server.adapters.source import read_config
from llm_server.errors import AdapterRefused, LlmServerError, PreparationFailed

COPIED = ("*.json", "*.jinja", "*.model", "vocab.txt", "merges.txt", "LICENSE*")
CONFIG = "config.json"
APART = 0.01
"""Nats a token between base with adapter and merged model: rounding to 16 bits adds about 1e-5."""


def merge(base: Path, adapter: Path, target: Path) -> None:
    """Write the folder. AdapterRefused for what PEFT does not put on this base, or what does nothing there;
    PreparationFailed where the merged model is not what it was merged from.
    """
    import torch
    from peft import PeftModel

    tokens = _tokens(base)
    model = _model(base)
    before = _logits(model, tokens)
    try:
        adapted: Any = PeftModel.from_pretrained(model, adapter).eval()
    except (ValueError, KeyError, RuntimeError, TypeError) as error:
        raise AdapterRefused(f"PEFT does not put {adapter.name} on {base.name}: {error}") from error
    wanted = _logits(adapted, tokens)
    measure(before, wanted)
    merged = adapted.merge_and_unload(safe_merge=True)
    kind = json.loads((base / CONFIG).read_text(encoding="utf-8"))
    merged = merged.to(getattr(torch, str(kind.get("dtype") or kind.get("torch_dtype") or "float32")))
    merged.save_pretrained(target)
    _copy(base, target)
    apart = divergence(wanted, _logits(_model(target), tokens))
    if not apart < APART:
        raise PreparationFailed(
            f"The merged model is {apart:.3f} nats a token from {base.name} with {adapter.name}; rounding "
            f"adds {APART} at most. Serve the adapter beside its base instead."
        )


def _model(folder: Path) -> Any:
    """In 32 bits."""
    import torch
    from transformers import AutoModelForCausalLM

    auto: Any = AutoModelForCausalLM
    return auto.from_pretrained(folder, dtype=torch.float32, local_files_only=True).eval()


def _tokens(base: Path) -> list[int]:
    """A few that the model knows."""
    from tokenizers import Tokenizer

    file = base / "tokenizer.json"
    if not file.is_file():
        return list(range(TOKENS))
    return list(Tokenizer.from_file(str(file)).encode(TEXT).ids[:TOKENS])


def _logits(model: Any, tokens: list[int]) -> NDArray[np.float32]:
    """[tokens, vocabulary]."""
    import torch

    with torch.no_grad():
        return np.asarray(model(torch.tensor([tokens])).logits[0], np.float32)


def _copy(base: Path, target: Path) -> None:
    """Tokenizer, template and licence: what transformers does not write with the weights."""
    for path in (path for pattern in COPIED for path in base.glob(pattern)):
        if not (target / path.name).exists() and not path.name.endswith(".index.json"):
            shutil.copyfile(path, target / path.name)


def main() -> int:
    """The exit status; the reason goes to standard error."""
    base, adapter, target = (Path(argument) for argument in sys.argv[1:])
    try:
        read_config(adapter)
        merge(base, adapter, target)
    except LlmServerError as error:
        sys.stderr.write(f"{error.message}\n")
        return 1
    except ImportError as error:
        sys.stderr.write(f"Merging needs {error.name}: pip install {error.name}.\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
