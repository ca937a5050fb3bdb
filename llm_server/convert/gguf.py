"""A transformers folder to GGUF, and GGUF to fewer bits."""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from llm_server.convert import tokenizer
from llm_server.convert.attention import check_attention
from llm_server.convert.converter import fetch_converter
from llm_server.errors import PreparationFailed

RUNNER = Path(__file__).with_name("run_converter.py")
DIRECT = frozenset({"f32", "f16", "q8_0"})
"""What the converter writes itself; the other types are made from f16."""


REASONS = {
    "BPE pre-tokenizer was not recognized": (
        "llama.cpp does not know how this model's tokenizer splits text and would read prompts wrongly. "
        "LLM_BACKEND=onnx serves it with its own tokenizer."
    ),
    "assert max(tokenizer.vocab.values()) < vocab_size": (
        "The tokenizer has tokens beyond the `vocab_size` of config.json."
    ),
}
"""Words of the converter, and what they mean."""


def convert_folder(folder: Path, target: Path, kind: str) -> None:
    """Write `target` from a transformers folder; `kind` is f32, f16, q8_0 or q4_k_m. PreparationFailed says
    why it cannot be.
    """
    check_attention(json.loads((folder / "config.json").read_text(encoding="utf-8")))
    if kind in DIRECT:
        _convert(folder, target, kind)
        return
    full = target.with_name(target.name + ".f16")
    try:
        _convert(folder, full, "f16")
        quantise(full, target, kind)
    finally:
        full.unlink(missing_ok=True)


def quantise(source: Path, target: Path, kind: str) -> None:
    """Write `target` with the weights of a GGUF file in `kind`."""
    _run([sys.executable, "-m", "llm_server.convert.quantise", str(source), str(target), kind], target)


def _convert(folder: Path, target: Path, kind: str) -> None:
    pre = tokenizer.kind(folder)
    if pre != tokenizer.SENTENCEPIECE:
        _run_converter(folder, target, kind, pre)
        return
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".tokenizer-") as scratch:
        # The folder's name becomes the model's name in the file.
        beside = Path(scratch) / folder.resolve().name
        _with_sentencepiece(folder, beside)
        _run_converter(beside, target, kind, "auto")


def _with_sentencepiece(folder: Path, beside: Path) -> None:
    """The same folder by links, with a tokenizer.model."""
    beside.mkdir()
    for path in folder.iterdir():
        (beside / path.name).symlink_to(path.resolve())
    tokenizer.write_sentencepiece(folder, beside / tokenizer.MODEL)
    settings = folder / "tokenizer_config.json"
    config = json.loads(settings.read_text(encoding="utf-8")) if settings.is_file() else {}
    whole = json.loads((folder / tokenizer.FILE).read_text(encoding="utf-8"))
    config["add_prefix_space"] = tokenizer.prefixes_space(whole)
    (beside / settings.name).unlink(missing_ok=True)
    (beside / settings.name).write_text(json.dumps(config), encoding="utf-8")


def _run_converter(folder: Path, target: Path, kind: str, pre: str) -> None:
    scripts = fetch_converter()
    command = [sys.executable, str(RUNNER), str(scripts), pre, "convert_hf_to_gguf.py", str(folder)]
    _run([*command, "--outtype", kind, "--outfile", str(target)], target)


def _run(command: list[str], target: Path) -> None:
    """A subprocess: a crash of native code, or a full disk, ends it and not the server."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode or not target.is_file():
        said = done.stderr or done.stdout
        for words, reason in REASONS.items():
            if words in said:
                raise PreparationFailed(reason)
        lines = [line for line in said.splitlines() if line.strip()]
        raise PreparationFailed(f"The conversion failed ({done.returncode}): {' '.join(lines[-3:])[-600:]}")
