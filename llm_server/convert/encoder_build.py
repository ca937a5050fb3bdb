"""`python -m llm_server.convert.encoder_build SOURCE TARGET HEAD MAX_TOKENS`: an encoder as a folder for ONNX
Runtime; HEAD is `scores`, or how a vector is made: `mean`, `cls`, `last`, `max`, `mean-raw` and so on.

A program of its own: it holds whole weights in memory, more than once. MAX_TOKENS 0 is as many as the model
takes.
"""

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import onnx

from llm_server.backends.onnx_encoder import GRAPH, TOKENIZER, WEIGHTS, Description
from llm_server.convert.encoder_graph import encoder_graph
from llm_server.convert.encoder_weights import Encoder, read_encoder
from llm_server.errors import PreparationFailed

SCORES = "scores"


def build(source: Path, target: Path, head: str = SCORES, max_tokens: int = 0) -> Description:
    """Write the folder. PreparationFailed for what is no encoder, or has no classifier for `scores`."""
    encoder = read_encoder(source, classifies=head == SCORES)
    if not (source / TOKENIZER).is_file():
        raise PreparationFailed(f"{source.name} has no {TOKENIZER}.")
    graph = encoder_graph(encoder, head)
    target.mkdir(parents=True, exist_ok=True)
    onnx.save(graph, target / GRAPH, save_as_external_data=True, location=WEIGHTS, size_threshold=1024)
    (target / WEIGHTS).chmod(0o644)  # onnx makes it readable for its owner only
    shutil.copyfile(source / TOKENIZER, target / TOKENIZER)
    size = len(encoder.classifier[2].bias) if encoder.classifier else encoder.words.shape[1]
    labels = _labels(source, size) if encoder.classifier else ()
    allowed = _length(source, encoder)
    description = Description(size, min(max_tokens or allowed, allowed), labels)
    description.write(target)
    return description


def _length(source: Path, encoder: Encoder) -> int:
    """Tokens that both the tokenizer and the table of positions allow."""
    allowed = _json(source / "tokenizer_config.json").get("model_max_length")
    positions = len(encoder.positions)
    return min(positions, int(allowed)) if allowed else positions


def _labels(source: Path, count: int) -> tuple[str, ...]:
    names = _json(source / "config.json").get("id2label") or {}
    return tuple(str(names.get(str(i), f"LABEL_{i}")) for i in range(count))


def _json(path: Path) -> dict[str, Any]:
    return dict(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else {}


def main() -> int:
    """The exit status; the reason goes to standard error."""
    source, target, head, max_tokens = sys.argv[1:]
    try:
        build(Path(source), Path(target), head, int(max_tokens))
    except PreparationFailed as error:
        sys.stderr.write(f"{error.message}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
