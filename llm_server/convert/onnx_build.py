"""`python -m llm_server.convert.onnx_build BUILT SOURCE TARGET PRECISION HASH`: from the model builder's
folder to ours.

A program of its own: it holds whole weights in memory, more than once.
"""

import json
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import onnx

from llm_server.backends.onnx_manifest import MIXED, PLAIN, WEIGHTS, Manifest
from llm_server.convert.onnx_graph import UnknownGraph, add_lora, halve_embedding, pick_rows, quantise
from llm_server.convert.onnx_vocabulary import write_vocabulary

BITS = {"int8": 8, "int4": 4}
COPIED = ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja")
CACHE = re.compile(r"past_key_values\.\d+\.(key|value)")
INPUTS = frozenset({"input_ids", "attention_mask", "position_ids"})
MAX_RANK = 512


def build(built: Path, source: Path, target: Path, precision: str, digest: str) -> None:
    """Write the folder. UnknownGraph for a model that keeps more between tokens than keys and values."""
    model = onnx.load(built / "model.onnx")
    odd = [i.name for i in model.graph.input if i.name not in INPUTS and not CACHE.fullmatch(i.name)]
    if odd:
        raise UnknownGraph(f"it has the inputs {', '.join(odd[:3])}")
    pick_rows(model)
    if precision in BITS:
        halve_embedding(model)
        model = quantise(model, BITS[precision])
    target.mkdir(parents=True, exist_ok=True)
    onnx.save(model, target / PLAIN, save_as_external_data=True, location=WEIGHTS, size_threshold=1024)
    (target / WEIGHTS).chmod(0o644)  # onnx makes it readable for its owner only
    # Read again without the weights: the second graph names the same file.
    mixed = onnx.load(target / PLAIN, load_external_data=False)
    targets = add_lora(mixed)
    onnx.save(mixed, target / MIXED)
    for name in COPIED:
        if (source / name).is_file():
            shutil.copyfile(source / name, target / name)
    manifest = describe(built, source, precision, digest, targets)
    write_vocabulary(target, manifest)
    manifest.write(target)


def describe(
    built: Path, source: Path, precision: str, digest: str, targets: dict[str, tuple[int, int]]
) -> Manifest:
    """Sizes out of the configuration that the builder wrote."""
    model = json.loads((built / "genai_config.json").read_text())["model"]
    decoder = model["decoder"]
    return Manifest(
        architecture=model["type"],
        source=digest,
        precision=precision,
        dtype="float16" if precision == "fp16" else "float32",
        layers=decoder["num_hidden_layers"],
        heads=decoder["num_attention_heads"],
        kv_heads=decoder["num_key_value_heads"],
        head_dim=decoder["head_size"],
        vocabulary=model["vocab_size"],
        context=model["context_length"],
        ends=tuple(sorted(_ends(source) | _ids(model.get("eos_token_id")))),
        max_rank=MAX_RANK,
        targets=targets,
    )


def _ends(source: Path) -> set[int]:
    """Ends of a generation, as the checkpoint names them."""
    file = source / "generation_config.json"
    return _ids(json.loads(file.read_text()).get("eos_token_id")) if file.is_file() else set()


def _ids(value: Any) -> set[int]:
    if value is None:
        return set()
    return set(value) if isinstance(value, list) else {int(value)}


def main() -> int:
    """The exit status; the reason goes to standard error."""
    built, source, target, precision, digest = sys.argv[1:]
    try:
        build(Path(built), Path(source), Path(target), precision, digest)
    except UnknownGraph as error:
        sys.stderr.write(f"This model's graph is not one that can be served: {error}.\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
