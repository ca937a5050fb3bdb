"""What is in a folder of ours for ONNX Runtime: its files and the sizes of the model inside."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

from llm_server.errors import PreparationFailed

FORMAT = 1
MANIFEST, PLAIN, MIXED, WEIGHTS = "manifest.json", "plain.onnx", "mixed.onnx", "weights.bin"
"""`plain` is the model alone, `mixed` the same with LoRA inputs; both read the same weights file."""
VOCABULARY, TOKENIZER = "vocabulary.gguf", "tokenizer.json"
FILES = (PLAIN, MIXED, WEIGHTS, VOCABULARY, TOKENIZER)
SCALES = "lora_scales"
"""Input of the mixed graph, [batch, 1, ranks]: how much of each rank a row takes."""


def input_names(target: str) -> tuple[str, str]:
    """Inputs of the mixed graph for one target: A as [in, ranks] and B as [ranks, out]."""
    return f"{target}.lora_A", f"{target}.lora_B"


@dataclass(frozen=True, slots=True)
class Manifest:
    """Sizes that the engine needs before it opens a graph."""

    architecture: str
    source: str
    """Hash of the transformers folder: adapters are made for this base."""
    precision: str
    """fp32, int8, int4 or fp16."""
    dtype: str
    """numpy's name of what flows between the nodes."""
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    vocabulary: int
    context: int
    ends: tuple[int, ...]
    """Tokens that end a generation."""
    max_rank: int
    targets: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Modules that adapters may change, by their name in transformers: inputs and outputs."""

    def write(self, folder: Path) -> None:
        """As JSON, with the format's number."""
        text = json.dumps({"format": FORMAT, **asdict(self)}, indent=1)
        (folder / MANIFEST).write_text(text + "\n")


def read_manifest(folder: Path) -> Manifest:
    """PreparationFailed for a folder that is not ours, not whole, or newer than this program."""
    try:
        content = json.loads((folder / MANIFEST).read_text())
        found = content.pop("format")
        if found != FORMAT:
            raise PreparationFailed(
                f"{folder} has format {found}, this program reads {FORMAT}. Convert the model again."
            )
        targets = {name: (int(sizes[0]), int(sizes[1])) for name, sizes in content.pop("targets").items()}
        manifest = Manifest(**{**content, "ends": tuple(content["ends"])}, targets=targets)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise PreparationFailed(f"{folder} is not a model for ONNX Runtime: {error}.") from error
    missing = [name for name in FILES if not (folder / name).is_file()]
    if missing:
        raise PreparationFailed(f"{folder} is not whole: {', '.join(missing)} missing. Convert it again.")
    return manifest
