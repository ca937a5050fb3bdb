"""An encoder's transformers folder to a folder that ONNX Runtime serves vectors or scores from."""

import sys
from pathlib import Path

from llm_server.backends.onnx_encoder import DESCRIPTION
from llm_server.convert.files import content_hash
from llm_server.convert.onnx_folder import publish_folder, run_program
from llm_server.errors import PreparationFailed

INPUTS = ("*.safetensors", "config.json", "tokenizer.json", "tokenizer_config.json")
LAYOUT = "1"
"""Changes when the graphs do: folders made before are made anew."""


def prepare_encoder(source: Path, name: str, data: Path, head: str, max_tokens: int = 0) -> Path:
    """The folder under `data`, made unless one of the same content is there. `head` is encoder_build's; texts
    are cut at `max_tokens`, 0 is as many as the model takes. PreparationFailed where it cannot be made.
    """
    if not (source / "config.json").is_file():
        raise PreparationFailed(f"{source} has no config.json: it is not a transformers model.")
    inputs = {path for pattern in INPUTS for path in source.glob(pattern)}
    digest = content_hash(inputs, head, str(max_tokens), LAYOUT)
    target = data / f"{name.replace('/', '--')}-{head}-{digest}.onnx"
    program = [sys.executable, "-m", "llm_server.convert.encoder_build", str(source)]
    publish_folder(
        target, DESCRIPTION, lambda part: run_program([*program, str(part), head, str(max_tokens)])
    )
    return target
