"""What an adapter has to fit: the base model's tensors, its architecture, its hash."""

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path

from gguf import GGUFReader

from llm_server.convert.digest import weights_sha256


@dataclass(frozen=True, slots=True)
class Base:
    """A base model as adapters see it."""

    architecture: str
    """llama.cpp's name of it, such as `qwen3`."""
    shapes: dict[str, tuple[int, ...]]
    """Tensor name to shape as GGUF writes it: columns first."""
    layers: int
    folder: Path | None = None
    """The transformers folder that it was made from: PEFT adapters are converted with its configuration."""
    weights: frozenset[str] = frozenset()
    """SHA-256 of the weight files that an adapter may name as its base."""
    tokenizer: str = field(default="")
    """SHA-256 of the vocabulary, empty where it is not known."""


def read_base(path: Path, folder: Path | None = None) -> Base:
    """Read a GGUF model's header; `folder` is the checkpoint that it was converted from."""
    reader = GGUFReader(path)
    architecture = str(reader.fields["general.architecture"].contents())
    layers = reader.fields[f"{architecture}.block_count"].contents()
    shapes = {tensor.name: tuple(int(size) for size in tensor.shape) for tensor in reader.tensors}
    files = [path, *(sorted(folder.glob("*.safetensors")) if folder else ())]
    weights = frozenset(weights_sha256(file) for file in files)
    vocabulary = vocabulary_hash(folder) if folder else ""
    return Base(architecture, shapes, int(layers), folder, weights, vocabulary)


def vocabulary_hash(folder: Path) -> str:
    """SHA-256 over a folder's tokens and ids, empty where it has no tokenizer.json."""
    file = folder / "tokenizer.json"
    if not file.is_file():
        return ""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        model = content["model"]["vocab"]
        pairs = model.items() if isinstance(model, dict) else ((row[0], i) for i, row in enumerate(model))
        added = {token["content"]: token["id"] for token in content.get("added_tokens") or ()}
        words = json.dumps(sorted({**dict(pairs), **added}.items()))
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return "unreadable"
    return hashlib.sha256(words.encode()).hexdigest()
