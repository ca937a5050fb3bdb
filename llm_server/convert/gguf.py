"""A transformers folder to GGUF, and GGUF to fewer bits."""

import subprocess
import sys
from pathlib import Path

from llm_server.convert.converter import fetch_converter
from llm_server.errors import PreparationFailed

RUNNER = Path(__file__).with_name("run_converter.py")
DIRECT = frozenset({"f32", "f16", "q8_0"})
"""What the converter writes itself; the other types are made from f16."""


def convert_folder(folder: Path, target: Path, kind: str, *, pre_tokenizer: str = "auto") -> None:
    """Write `target` from a transformers folder; `kind` is f32, f16, q8_0 or q4_k_m."""
    if kind in DIRECT:
        _convert(folder, target, kind, pre_tokenizer)
        return
    full = target.with_name(target.name + ".f16")
    try:
        _convert(folder, full, "f16", pre_tokenizer)
        quantise(full, target, kind)
    finally:
        full.unlink(missing_ok=True)


def quantise(source: Path, target: Path, kind: str) -> None:
    """Write `target` with the weights of a GGUF file in `kind`."""
    _run([sys.executable, "-m", "llm_server.convert.quantise", str(source), str(target), kind], target)


def _convert(folder: Path, target: Path, kind: str, pre_tokenizer: str) -> None:
    scripts = fetch_converter()
    command = [sys.executable, str(RUNNER), str(scripts), pre_tokenizer, "convert_hf_to_gguf.py", str(folder)]
    _run([*command, "--outtype", kind, "--outfile", str(target)], target)


def _run(command: list[str], target: Path) -> None:
    """A subprocess: a crash of native code, or a full disk, ends it and not the server."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode or not target.is_file():
        lines = [line for line in (done.stderr or done.stdout).splitlines() if line.strip()]
        raise PreparationFailed(f"The conversion failed ({done.returncode}): {' '.join(lines[-3:])[-600:]}")
